// The files of the overlay, once everything was read.
#include "base/text.h"
#include "kube/draft.h"
#include "kube/yaml_text.h"

namespace starling::kube {
namespace {

OrderedJson Images(const Draft& draft) {
  OrderedJson out = OrderedJson::array();
  for (const auto& [name, registry] : draft.images) {
    if (registry.empty()) continue;
    out.push_back({{"name", StrCat("registry/", name)}, {"newName", StrCat(registry, "/", name)}});
  }
  return out;
}

OrderedJson Kustomization(const Draft& draft) {
  const std::string& base = draft.options.base;
  OrderedJson out = {{"apiVersion", "kustomize.config.k8s.io/v1beta1"},
                     {"kind", "Kustomization"},
                     {"namespace", draft.name_space}};
  OrderedJson resources = OrderedJson::array({StrCat(base, "/policy")});
  if (!draft.shared.empty()) resources.push_back("shared.yaml");
  for (const auto& [name, objects] : draft.node_files) resources.push_back(StrCat(name, ".yaml"));
  out["resources"] = resources;
  if (draft.spire_server) {
    const std::string_view component =
        draft.options.legacy_token ? "spire-legacy-token" : "spire-standalone";
    out["components"] = OrderedJson::array({StrCat(base, "/../identity/", component)});
  }
  OrderedJson images = Images(draft);
  if (!images.empty()) out["images"] = std::move(images);
  return out;
}

}  // namespace

std::map<std::string, std::string> OverlayFiles(const Draft& draft) {
  std::map<std::string, std::string> out;
  out["kustomization.yaml"] = YamlText(Kustomization(draft));
  if (!draft.shared.empty()) out["shared.yaml"] = YamlText(draft.shared);
  for (const auto& [name, objects] : draft.node_files)
    out[StrCat(name, ".yaml")] = YamlText(objects);
  return out;
}

}  // namespace starling::kube
