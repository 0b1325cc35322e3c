// One endpoint's learned names and addresses, as plain data: what is kept, in which order it was
// learned, and what the kernel should hold for an address. Knows neither clocks nor the kernel;
// FqdnCache guards it with its mutex.
//
//   x_names      name → groups, its records by address
//   x_addresses  address → its records (one for each name), and what the kernel was told
//   x_order      the records themselves, learned longest ago first
#pragma once

#include "proxy/base/dns_name.h"
#include "proxy/base/ip.h"

#include <cstdint>
#include <functional>
#include <list>
#include <unordered_map>
#include <vector>

namespace weir::dns {

class LearnedNames {
public:
  struct Record {
    const DnsName* name; // key of x_names
    IpAddress address;
    std::uint32_t ttl;     // as answered, seconds
    std::uint64_t ends_ns; // boot time, without grace
    std::uint64_t answer;  // number of the answer that taught it last
    bool ended = false;    // end_before() has named it
  };
  // Of an address; groups 0: no entry.
  struct KernelEntry {
    std::uint64_t groups = 0;
    std::uint64_t ends_ns = 0; // without grace
    bool operator==(const KernelEntry&) const = default;
  };

  // What put() adds from now on belongs to a new answer.
  void start_answer() { ++x_answer; }
  // A record that is there already keeps the later end: the pod may still hold the earlier answer.
  void put(const DnsName& name, std::uint64_t groups, const IpAddress& address, std::uint32_t ttl,
           std::uint64_t ends_ns);

  // Learned longest ago; null when that is of the answer last started, or when there is none.
  [[nodiscard]] const Record* oldest() const;
  void spare_oldest(); // to the other end of the order
  void drop_oldest();

  // Drops the records that `over` says so of, and names their addresses, each once.
  std::vector<IpAddress> drop_if(const std::function<bool(const Record&)>& over);

  // Addresses of records that ended by `now_ns` and have not been named yet, each once.
  std::vector<IpAddress> end_before(std::uint64_t now_ns);

  // Null when there is none.
  [[nodiscard]] const Record* find(const DnsName& name, const IpAddress& address) const;
  // The record of the address that ends last; null when there is none.
  [[nodiscard]] const Record* latest(const IpAddress& address) const;

  // By records that have not ended at `now_ns`, or, when all have, by all of them: a flow that
  // began in time may go on, a new one finds the end in the past.
  [[nodiscard]] KernelEntry wanted(const IpAddress& address, std::uint64_t now_ns) const;
  [[nodiscard]] std::uint64_t live_groups(const IpAddress& address, std::uint64_t now_ns) const;

  // What the kernel holds for an address as far as is known: exactly after kernel_told(), while
  // kernel_joined() adds to what it may hold besides from an earlier process.
  [[nodiscard]] bool kernel_has(const IpAddress& address, const KernelEntry& entry) const;
  // Whether it holds at least these groups, and for at least as long.
  [[nodiscard]] bool kernel_covers(const IpAddress& address, const KernelEntry& entry) const;
  void kernel_told(const IpAddress& address, const KernelEntry& entry);
  void kernel_joined(const IpAddress& address, const KernelEntry& entry);

  void regroup(const std::function<std::uint64_t(const DnsName&)>& groups_of_name);

  [[nodiscard]] std::vector<IpAddress> addresses() const;
  [[nodiscard]] const std::list<Record>& records() const { return x_order; }
  [[nodiscard]] std::size_t name_count() const { return x_names.size(); }

private:
  using Order = std::list<Record>;
  struct Name {
    std::uint64_t groups = 0;
    std::unordered_map<IpAddress, Order::iterator> records;
  };
  struct Address {
    std::vector<Order::iterator> records;
    KernelEntry kernel;
    bool kernel_known = false;
  };
  Order::iterator drop(Order::iterator record);

  Order x_order;
  std::unordered_map<DnsName, Name> x_names;
  std::unordered_map<IpAddress, Address> x_addresses;
  std::uint64_t x_answer = 0;
};

} // namespace weir::dns
