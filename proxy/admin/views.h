// Rows of the model as JSON. Names of keys are a contract with people's scripts: keys may be added,
// never renamed or removed. Admin thread.
#pragma once

#include "proxy/admin/model.h"
#include "proxy/config/config.h"

#include <boost/json/value.hpp>

#include <chrono>
#include <string_view>

namespace weir::admin {

[[nodiscard]] boost::json::value policies_json(const View& view);
[[nodiscard]] boost::json::value endpoints_json(const std::vector<EndpointRow>& endpoints);
[[nodiscard]] boost::json::value listeners_json(const View& view);
// The identities of known pods, each once.
[[nodiscard]] boost::json::value identities_json(const std::vector<EndpointRow>& endpoints);
[[nodiscard]] boost::json::value fqdn_json(const std::vector<FqdnRow>& rows, bool expired);
// What has no value is left out.
[[nodiscard]] boost::json::value flow_json(const FlowRow& row);
[[nodiscard]] boost::json::value flows_json(const FlowLog::Rows& rows);
[[nodiscard]] boost::json::value acceleration_json(const redirect::AccelerationState& state);
// The configuration in force, defaults filled in. It has no secrets to leave out.
[[nodiscard]] boost::json::value config_json(const config::Config& config, const View& view);
[[nodiscard]] boost::json::value server_json(const config::Config& config, const View& view,
                                             const Readiness& readiness,
                                             const ClusterHealth& cluster,
                                             std::string_view attach_mode,
                                             std::chrono::system_clock::time_point started_at);

} // namespace weir::admin
