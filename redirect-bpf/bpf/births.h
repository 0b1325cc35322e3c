/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0)
 *
 * Packets of interfaces that have no program of ours yet: they are met where they are about to
 * leave by another, or to reach a socket of the node. Says what such an interface is; decide.h,
 * what follows from it.
 *
 * Tried on Linux 6.18, routed and bridged, IPv4 and IPv6:
 *   - At tc egress `ingress_ifindex` is the interface that the packet came in by: of a bridge's
 *     port where the bridge passed it on to another port, the bridge's own where it came up through
 *     the bridge and was routed, and 0 for what the node sends itself. What was encapsulated or
 *     decrypted begins anew (0, or the tunnel's interface).
 *   - sk_lookup programs are told it too, with TCP's SYNs and the datagrams for sockets that are
 * not connected; lo counts as an interface there. What they drop is answered as if nobody listened.
 *   - A devmap may be read by tc programs, and loses the entry of an interface that is deleted or
 *     moved to another namespace.
 *   - Nothing in the context says what kind of interface a number stands for, so the kernel's own
 *     table is read: struct net, dev_index_head, 256 lists, as __dev_get_by_index() reads it.
 *     Programs run under RCU, and a failing read gives zero.
 */
#ifndef WEIR_BIRTHS_H
#define WEIR_BIRTHS_H

#include "redirect-bpf/bpf/decide.h"
#include "redirect-bpf/bpf/maps.h"

#define WEIR_INDEX_LISTS 256	/* NETDEV_HASHENTRIES */
#define WEIR_MOST_IN_A_LIST 128 /* some 20,000 interfaces */

/* Without it (known = 0) the verifier leaves out what reads by it. */
const volatile struct weir_kernel_layout weir_kernel_layout = {};

/* The pointer that stands there; 0 where it cannot be read. */
static __always_inline const void *weir_kernel_pointer(const void *object, __u32 offset)
{
	const void *pointer = 0;

	bpf_probe_read_kernel(&pointer, sizeof(pointer), object + offset);
	return pointer;
}

static __always_inline bool weir_is_veth(const void *device)
{
	const void *ops = weir_kernel_pointer(device, weir_kernel_layout.dev_link_ops);
	char kind[8] = {};

	if (!ops)
		return false; /* hardware */
	bpf_probe_read_kernel_str(kind, sizeof(kind),
				  weir_kernel_pointer(ops, weir_kernel_layout.link_ops_kind));
	return kind[0] == 'v' && kind[1] == 'e' && kind[2] == 't' && kind[3] == 'h' && !kind[4];
}

/* The network namespace that the packet is in. */
static __always_inline __u64 weir_netns_of(struct __sk_buff *skb)
{
	const void *device;

	if (!weir_kernel_layout.known)
		return 0;
	device = weir_kernel_pointer(skb, weir_kernel_layout.skb_dev);
	return (__u64)weir_kernel_pointer(device, weir_kernel_layout.dev_net);
}

/* enum weir_interface_kind of the interface with this index in a namespace, and its name. */
__noinline int weir_interface_in(__u64 netns, __u32 index, struct weir_name_key *name)
{
	const void *at;

	if (!name || !netns || !weir_kernel_layout.known)
		return WEIR_INTERFACE_UNTOLD;
	at = weir_kernel_pointer((const void *)netns, weir_kernel_layout.net_index_head);
	at = weir_kernel_pointer(at, index % WEIR_INDEX_LISTS * sizeof(at));
	for (int i = 0; i < WEIR_MOST_IN_A_LIST; i++) {
		const void *device = at - weir_kernel_layout.dev_index_hlist;
		__u32 found = 0;

		if (!at)
			return WEIR_INTERFACE_GONE;
		bpf_probe_read_kernel(&found, sizeof(found),
				      device + weir_kernel_layout.dev_ifindex);
		if (found == index) {
			bpf_probe_read_kernel(name->name, sizeof(name->name),
					      device + weir_kernel_layout.dev_name);
			return weir_is_veth(device) ? WEIR_INTERFACE_VETH : WEIR_INTERFACE_OTHER;
		}
		at = weir_kernel_pointer(at, 0);
	}
	return WEIR_INTERFACE_VETH; /* not found out in time: the stricter answer */
}

static __always_inline struct weir_births *weir_read_births(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&weir_births, &zero);
}

static __always_inline __u32 weir_birth_flags(void)
{
	struct weir_births *births = weir_read_births();

	return births ? *(volatile __u32 *)&births->flags : 0;
}

/* Of what came in by the interface `index`; true for few packets, and then weir_is_birth() is
 * asked.
 */
static __always_inline bool weir_came_past_us(__u32 index)
{
	return index && !bpf_map_lookup_elem(&weir_interfaces, &index);
}

__noinline int weir_is_birth(__u64 netns, __u32 index, __u32 from_pod)
{
	struct weir_name_key name = {};
	__u32 flags = weir_birth_flags();
	bool is_other = false;
	__u32 *known;
	__u8 kind;

	if (!flags)
		return 0;
	name.prefix_length = 8 * WEIR_INTERFACE_NAME;
	kind = weir_interface_in(netns, index, &name);
	known = bpf_map_lookup_elem(&weir_names, &name);
	if (known) {
		is_other = *known == WEIR_NAME_OTHERS;
		from_pod |= *known == WEIR_NAME_PODS;
	}
	return weir_holds_birth(kind, flags, is_other, from_pod);
}

#endif
