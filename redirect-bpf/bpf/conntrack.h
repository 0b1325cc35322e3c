/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0)
 *
 * Flows as weir remembers them: look-up, opening, keeping alive; counters and events beside them,
 * because each is one map access. Decides nothing (decide.h does).
 */
#ifndef WEIR_CONNTRACK_H
#define WEIR_CONNTRACK_H

#include "redirect-bpf/bpf/maps.h"
#include "redirect-bpf/bpf/parse.h"

/* The ages of flows: CLOCK_MONOTONIC as of the last tick. CLOCK_BOOTTIME, which outside of flows
 * is the clock of the maps, costs 30 ns more, a tenth of a packet. */
static __always_inline __u64 weir_now(void)
{
	return bpf_ktime_get_coarse_ns();
}

static __always_inline void weir_count(__u32 counter)
{
	__u64 *value = bpf_map_lookup_elem(&weir_counters, &counter);

	if (value)
		(*value)++;
}

static __always_inline void weir_count_drop(__u32 reason, __u32 direction)
{
	__u32 index = weir_drop_index(reason, direction);
	__u64 *value = bpf_map_lookup_elem(&weir_drops, &index);

	if (value)
		(*value)++;
}

static __always_inline void weir_emit(const struct weir_tuple *tuple, __u32 endpoint,
				      __u32 peer_identity, __u8 direction,
				      const struct weir_judgement *judgement)
{
	struct weir_event *event = bpf_ringbuf_reserve(&weir_events, sizeof(*event), 0);

	if (!event) {
		weir_count(WEIR_COUNT_EVENTS_LOST);
		return;
	}
	event->time_ns = bpf_ktime_get_boot_ns();
	event->tuple = *tuple;
	event->endpoint = endpoint;
	event->identity = peer_identity;
	event->rule = judgement->rule;
	event->verdict = judgement->verdict;
	event->reason = judgement->reason;
	event->direction = direction;
	event->pad = 0;
	bpf_ringbuf_submit(event, 0);
}

static __always_inline void weir_flow_key(struct weir_ct_key *key, __u32 endpoint, __u8 direction,
					  const struct weir_tuple *tuple)
{
	__builtin_memset(key, 0, sizeof(*key));
	key->tuple = *tuple;
	key->endpoint = endpoint;
	key->direction = direction;
}

/* Nothing when there is none or it was quiet for too long. */
static __always_inline struct weir_ct_entry *weir_find_flow(const struct weir_ct_key *key,
							    __u64 now)
{
	struct weir_ct_entry *entry = bpf_map_lookup_elem(&weir_conntrack, key);

	if (!entry || weir_is_stale(now, entry->last_seen_ns,
				    weir_flow_lifetime_ns(key->tuple.protocol, entry->flags)))
		return 0;
	return entry;
}

/* `outside`: the flow's peer, whose learned address the flow keeps alive. */
static __always_inline void weir_touch_flow(struct weir_ct_entry *entry, __u32 endpoint,
					    const struct weir_addr *outside, __u8 flags, __u64 now)
{
	if ((entry->flags | flags) != entry->flags)
		entry->flags |= flags;
	if (!weir_needs_touch(now, entry->last_seen_ns))
		return;
	entry->last_seen_ns = now;
	if (entry->flags & WEIR_CT_LEARNED) {
		struct weir_learned_key key = {.endpoint = endpoint, .address = *outside};
		struct weir_learned_entry *learned = bpf_map_lookup_elem(&weir_learned, &key);

		if (learned)
			learned->last_used_ns = bpf_ktime_get_boot_ns();
	}
}

/* Which way a packet goes, if the server's port is the lower one as nearly always. A guess: it says
 * what is looked up first, never what comes out. */
static __always_inline bool weir_is_from_client(const struct weir_tuple *tuple)
{
	return bpf_ntohs(tuple->source_port_be) > bpf_ntohs(tuple->destination_port_be);
}

/* The proxy opens a connection whose answers look like a flow that a pod of this node has opened
 * itself some time ago. From now on that one is not recalled before weir_returns is asked. */
static __always_inline void weir_look_closer(const struct weir_tuple *answer)
{
	struct weir_endpoint *pod = bpf_map_lookup_elem(&weir_endpoints, &answer->source);
	struct weir_ct_entry *entry;
	struct weir_ct_key key;

	if (!pod)
		return;
	weir_flow_key(&key, pod->id, WEIR_EGRESS, answer);
	entry = bpf_map_lookup_elem(&weir_conntrack, &key);
	if (entry)
		entry->flags &= ~WEIR_CT_PLAIN;
}

/* A packet that the proxy sends tells what its answer will look like. */
static __always_inline void weir_record_return(const struct weir_packet *packet, __u64 now)
{
	bool reset = weir_is_reset(packet->tuple.protocol, packet->tcp_flags);
	bool opens = weir_is_open(packet->tuple.protocol, packet->tcp_flags);
	struct weir_tuple reversed;
	__u64 *seen, value;

	weir_reverse(&packet->tuple, &reversed);
	seen = bpf_map_lookup_elem(&weir_returns, &reversed);
	if (seen && !opens)
		reset |= *seen & WEIR_RETURN_RESET;
	if ((!seen || opens) && weir_is_from_client(&reversed))
		weir_look_closer(&reversed);
	value = weir_return_value(now, reset);
	if (!seen)
		bpf_map_update_elem(&weir_returns, &reversed, &value, BPF_ANY);
	else if (weir_needs_touch(now, *seen) || ((value ^ *seen) & WEIR_RETURN_RESET))
		*seen = value;
}

/* What weir_returns has about packets of this tuple; 0 when it has nothing. */
static __always_inline __u64 weir_find_return(const struct weir_tuple *tuple, __u64 now)
{
	__u64 *seen = bpf_map_lookup_elem(&weir_returns, tuple);

	return seen && weir_return_alive(now, *seen, tuple->protocol) ? *seen : 0;
}

#endif
