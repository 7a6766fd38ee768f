#include "base/errno.h"

#include <cerrno>
#include <system_error>

#include "base/text.h"

namespace starling {

std::string ErrnoText(int error) { return std::generic_category().message(error); }

Status FromErrno(std::string_view what) {
  const int error = errno;
  const std::string text = StrCat(what, ": ", ErrnoText(error));
  switch (error) {
    case ENOENT:
      return absl::NotFoundError(text);
    case EACCES:
    case EPERM:
      return absl::PermissionDeniedError(text);
    case ENOSPC:
    case EDQUOT:
      return WithCode(absl::ResourceExhaustedError(text), "disk-full");
    default:
      return absl::UnavailableError(text);
  }
}

}  // namespace starling
