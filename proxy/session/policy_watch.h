// Who has something running that a change of policy may end. On the worker's thread only; the list
// outlives its members.
#pragma once

#include <boost/intrusive/list.hpp>

namespace weir::session {

class PolicyWatchers;

class PolicyWatcher : public boost::intrusive::list_base_hook<
                          boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
public:
  explicit PolicyWatcher(PolicyWatchers& watchers);
  virtual ~PolicyWatcher() = default;
  PolicyWatcher(const PolicyWatcher&) = delete;
  PolicyWatcher& operator=(const PolicyWatcher&) = delete;

  // Judge again what is under way. Cancel or abort streams; do not destroy a member of the list.
  virtual void on_policy_change() = 0;
};

class PolicyWatchers {
public:
  PolicyWatchers() = default;
  PolicyWatchers(const PolicyWatchers&) = delete;
  PolicyWatchers& operator=(const PolicyWatchers&) = delete;

  void policy_changed() {
    for (PolicyWatcher& member : x_members) {
      member.on_policy_change();
    }
  }

private:
  friend class PolicyWatcher;
  boost::intrusive::list<PolicyWatcher, boost::intrusive::constant_time_size<false>> x_members;
};

inline PolicyWatcher::PolicyWatcher(PolicyWatchers& watchers) {
  watchers.x_members.push_back(*this);
}

} // namespace weir::session
