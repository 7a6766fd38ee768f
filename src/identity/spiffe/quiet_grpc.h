// gRPC is a library in a daemon here: what it has to say comes as a status and is logged by whoever
// asked. Any thread.
#pragma once

namespace starling {

// Keeps gRPC from writing to standard error, unless the user asks for it with GRPC_VERBOSITY. Call
// before the first use of gRPC; as often as one likes.
void QuietGrpc();

}  // namespace starling
