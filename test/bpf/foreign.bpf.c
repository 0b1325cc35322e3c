/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0)
 *
 * Somebody else's program on the same hook, for tests: counts what it sees and leaves it alone.
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

volatile __u32 seen = 0;

SEC("tc")
int foreign(struct __sk_buff* skb) {
  __sync_fetch_and_add(&seen, 1);
  return -1; /* to the next program: TCX_NEXT, and TC_ACT_UNSPEC of a filter */
}
