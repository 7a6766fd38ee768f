// What a failed system call said, as text and as a status. Any thread; values.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace starling {

// "No space left on device"; unlike strerror() safe in every thread.
std::string ErrnoText(int error);

// "WHAT: No such file or directory" of the errno of this moment. NotFound, PermissionDenied,
// ResourceExhausted with the code disk-full, or else Unavailable.
Status FromErrno(std::string_view what);

}  // namespace starling
