/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0)
 *
 * Loses packets, for tests: some at random, or the next acknowledgements that carry nothing.
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

volatile __u32 loss_per_thousand = 0;
volatile __u32 loss_of_acks = 0; /* how many are still to be lost */
volatile __u32 lost = 0;

enum {
  ETHERNET = 14,
  IPV4 = 20, /* without options, as the tests send them */
  TCP_FLAGS = 13,
  ACK_ALONE = 0x10,
};

SEC("tc")
int packet_loss(struct __sk_buff* skb) {
  __u8 offset = 0, flags = 0;
  __u16 total = 0;

  if (loss_of_acks && !bpf_skb_load_bytes(skb, ETHERNET + IPV4 + TCP_FLAGS, &flags, 1) &&
      !bpf_skb_load_bytes(skb, ETHERNET + IPV4 + TCP_FLAGS - 1, &offset, 1) &&
      !bpf_skb_load_bytes(skb, ETHERNET + 2, &total, 2) && flags == ACK_ALONE &&
      __builtin_bswap16(total) == IPV4 + (offset >> 4) * 4) {
    __sync_fetch_and_add(&loss_of_acks, -1);
    __sync_fetch_and_add(&lost, 1);
    return 2;
  }
  if (bpf_get_prandom_u32() % 1000 < loss_per_thousand) {
    __sync_fetch_and_add(&lost, 1);
    return 2;
  }
  return -1;
}
