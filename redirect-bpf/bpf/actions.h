/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0)
 *
 * What a program answers to the kernel, and the drops, each counted and told once.
 */
#ifndef WEIR_ACTIONS_H
#define WEIR_ACTIONS_H

#include "redirect-bpf/bpf/judge.h"

/* Not in the headers of Linux 6.1. NEXT leaves the packet to whoever is attached behind (the CNI);
 * PASS and DROP end the matter. */
enum {
	WEIR_NEXT = -1,
	WEIR_PASS = 0,
	WEIR_SHOT = 2,
};

/* Drops a packet for a reason that no policy gave. */
__noinline int weir_drop_packet(const struct weir_packet *packet, __u32 endpoint, __u32 reason,
				__u32 direction)
{
	struct weir_judgement judgement = {0, WEIR_DENY, reason, 0, 1};

	if (!packet)
		return WEIR_SHOT;
	weir_count_drop(reason, direction);
	weir_emit(&packet->tuple, endpoint, 0, direction, &judgement);
	return WEIR_SHOT;
}

static __always_inline int weir_drop_flow(const struct weir_packet *packet,
					  const struct weir_flow *flow)
{
	/* Policy's own reasons were reported when it was asked. */
	if (flow->reason == WEIR_DROP_MISSED_REDIRECT || flow->reason == WEIR_DROP_CT_FULL ||
	    flow->reason == WEIR_DROP_PORT_IN_USE)
		return weir_drop_packet(packet, flow->endpoint, flow->reason,
					flow->reason_direction);
	weir_count_drop(flow->reason, flow->reason_direction);
	return WEIR_SHOT;
}

#endif
