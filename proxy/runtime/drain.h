// Graceful end: what is running is told to come to an end of its own accord. The deadline for
// that, and the cancelling when it has passed (Gate::close()), are the owner's business.
//
// On the worker's thread only; the DrainList outlives its members.
#pragma once

#include <boost/intrusive/list.hpp>

namespace weir::runtime {

class DrainList;

class Drainable : public boost::intrusive::list_base_hook<
                      boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
public:
  explicit Drainable(DrainList& list);
  virtual ~Drainable() = default;
  Drainable(const Drainable&) = delete;
  Drainable& operator=(const Drainable&) = delete;

  // Cancel what only waits; do not destroy a member of the list.
  virtual void on_drain() = 0;
};

class DrainList {
public:
  DrainList() = default;
  DrainList(const DrainList&) = delete;
  DrainList& operator=(const DrainList&) = delete;

  void drain() {
    x_draining = true;
    for (Drainable& member : x_members) {
      member.on_drain();
    }
  }
  // Members that come later ask for themselves.
  [[nodiscard]] bool draining() const { return x_draining; }

private:
  friend class Drainable;
  boost::intrusive::list<Drainable, boost::intrusive::constant_time_size<false>> x_members;
  bool x_draining = false;
};

inline Drainable::Drainable(DrainList& list) { list.x_members.push_back(*this); }

} // namespace weir::runtime
