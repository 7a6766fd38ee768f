#include "kube_import.h"

#include "base/fs.h"
#include "base/text.h"
#include "environment.h"
#include "kube/is_in.h"
#include "kube/manifest.h"
#include "kube/overlay_folder.h"

namespace starling {
namespace {

constexpr std::size_t kFilesMax = 100;

template <typename Match>
std::optional<kube::KnownSetting> Find(bool learning, const Match& match) {
  const auto role = static_cast<unsigned>(learning ? Role::kSl : Role::kSn);
  for (const Setting& setting : SettingsTable()) {
    if ((setting.roles & role) == 0 || setting.treatment == Treatment::kLater) continue;
    if (!match(setting)) continue;
    return kube::KnownSetting{std::string(setting.name), std::string(setting.meaning),
                              setting.treatment == Treatment::kUsed, setting.toggle};
  }
  return std::nullopt;
}

}  // namespace

kube::SettingsLookup SettingsForImport() {
  return {[](bool learning, std::string_view variable) {
            return Find(learning, [&](const Setting& setting) {
              return !variable.empty() &&
                     (IsIn(setting.env, variable) || IsIn(setting.env_03, variable));
            });
          },
          [](bool learning, std::string_view option) {
            return Find(learning, [&](const Setting& setting) {
              return !option.empty() && (setting.name == option || IsIn(setting.flags, option));
            });
          }};
}

Status RunKubeImport(const KubeImportRequest& request, std::ostream& out) {
  if (request.files.size() > kFilesMax)
    return absl::InvalidArgumentError(StrCat("more than ", kFilesMax, " files"));
  std::vector<kube::InputFile> inputs;
  for (const std::string& file : request.files) {
    ASSIGN_OR_RETURN(std::string text, ReadFile(file, kube::ManifestLimits().bytes_max));
    inputs.push_back({file, std::move(text)});
  }
  ASSIGN_OR_RETURN(const kube::Import import,
                   kube::ImportManifests(inputs, request.options, SettingsForImport()));
  // Before anything is written, and whatever bytes a file's name is made of.
  const std::string report =
      request.json
          ? StrCat(kube::ReportJson(import).dump(2, ' ', false, Json::error_handler_t::replace),
                   "\n")
          : StrCat(kube::ReportText(import), "overlay: ", request.folder,
                   "; next: kubectl apply -k ", request.folder, "\n");
  RETURN_IF_ERROR(kube::WriteOverlay(request.folder, import.files, request.force));
  out << report;
  return absl::OkStatus();
}

}  // namespace starling
