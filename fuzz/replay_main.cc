// Runs a fuzz target over saved inputs: files, and every file below directories, in the order of
// their names. This is `main` of the fuzz targets in every build but the libFuzzer one. Failing is
// the target's part: it aborts. Exit code 1 when a path is missing or no file was found, so that an
// empty corpus never passes as a tested one.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

std::vector<std::filesystem::path> FilesBelow(const std::filesystem::path& path) {
  if (!std::filesystem::is_directory(path)) return {path};
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(path)) {
    if (entry.is_regular_file()) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

void Replay(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  in.exceptions(std::ios::badbit | std::ios::failbit);
  const std::vector<char> text{std::istreambuf_iterator<char>(in), {}};
  // An exact copy on the heap: a read past the end is seen by the address sanitizer.
  const std::vector<std::uint8_t> input(text.begin(), text.end());
  std::fprintf(stderr, "%s (%zu bytes)\n", file.c_str(),
               input.size());  // The last name printed is the culprit.
  LLVMFuzzerTestOneInput(input.data(), input.size());
}

}  // namespace

int main(int argc, char** argv) {
  try {
    std::size_t replayed = 0;
    for (const char* const path : std::span(argv, static_cast<std::size_t>(argc)).subspan(1)) {
      for (const std::filesystem::path& file : FilesBelow(path)) {
        Replay(file);
        ++replayed;
      }
    }
    std::printf("replayed %zu files\n", replayed);
    return replayed > 0 ? 0 : 1;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "replay: %s\n", e.what());
    return 1;
  }
}
