// `starling kube import`: reads the files, imports them (src/kube), writes the overlay and prints
// the report.
#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "base/result.h"
#include "kube/importer.h"

namespace starling {

struct KubeImportRequest {
  std::vector<std::string> files;
  std::string folder;
  kube::ImportOptions options;
  bool force = false;
  bool json = false;
};

// What the settings table says of variables and options. Any thread.
[[nodiscard]] kube::SettingsLookup SettingsForImport();

// Nothing is written unless every file could be read.
[[nodiscard]] Status RunKubeImport(const KubeImportRequest& request, std::ostream& out);

}  // namespace starling
