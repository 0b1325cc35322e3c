/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0)
 *
 * The verdict on a packet: from its flow's entry, or by asking the policies of its endpoints and
 * remembering what they say. Gathers what decide.h judges; acts on no packet.
 */
#ifndef WEIR_JUDGE_H
#define WEIR_JUDGE_H

#include "redirect-bpf/bpf/conntrack.h"
#include "redirect-bpf/bpf/maps.h"
#include "redirect-bpf/bpf/services.h"

#define WEIR_ENFORCED (WEIR_ENDPOINT_INGRESS_ENFORCED | WEIR_ENDPOINT_EGRESS_ENFORCED)

/* A flow being judged. Its tuple travels beside it: that of its first packet, which is not always
 * the packet at hand, as an answer is judged by the flow that it answers. */
struct weir_flow {
	__u64 now;
	__u32 revision;
	__u32 endpoint;
	__u16 flags; /* of the endpoint */
	__u16 policy_port_be;
	__u8 direction;
	__u8 established; /* decided before: what was learned once still counts */
	/* The answer. */
	__u8 verdict;
	__u8 reason;
	__u32 rule;
	__u8 reason_direction;
	__u8 learned;
	__u8 is_reply;
	/* Of its entry, if it has one. */
	__u8 entry_verdict;
	__u8 entry_flags;
	__u8 plain; /* see WEIR_CT_PLAIN */
	__u8 turn;  /* see weir_ct_entry */
	__u8 pad[5];
};

/* Whose policy is asked about a flow, and about whom. */
struct weir_party {
	__u32 endpoint;
	__u32 identity; /* of the peer */
	__u16 flags;	/* of the endpoint */
	__u8 direction;
	__u8 pad;
};

__noinline __u32 weir_identity_of(const struct weir_addr *address, __u32 slot)
{
	struct weir_identity_key key;
	__u32 *identity;
	void *trie;

	if (!address)
		return WEIR_IDENTITY_UNMANAGED;
	key.prefix_length = 128;
	key.address = *address;
	trie = bpf_map_lookup_elem(&weir_identities, &slot);
	identity = trie ? bpf_map_lookup_elem(trie, &key) : 0;
	return identity ? *identity : weir_unknown_identity(address);
}

/* One direction of one endpoint's policy. */
__noinline int weir_ask(const struct weir_flow *flow, const struct weir_tuple *tuple,
			const struct weir_party *party, struct weir_judgement *answer)
{
	struct weir_policy_slot where = {};
	struct weir_learned_entry *learned = 0;
	struct weir_policy_key key = {};
	__u64 groups = 0, now = 0;
	bool expired = false;
	__u32 rule = 0;
	__u16 wanted;
	void *rows;

	if (!flow || !tuple || !party || !answer)
		return 0;
	if (party->flags & WEIR_ENDPOINT_HELD) {
		*answer = weir_no_policy();
		return 0;
	}
	wanted = party->direction == WEIR_EGRESS ? WEIR_ENDPOINT_EGRESS_ENFORCED
						 : WEIR_ENDPOINT_INGRESS_ENFORCED;
	if (!(party->flags & wanted)) {
		*answer = weir_not_enforced();
		return 0;
	}
	where.endpoint = party->endpoint;
	where.slot = weir_slot(flow->revision);
	rows = bpf_map_lookup_elem(&weir_policies, &where);
	if (!rows) {
		*answer = weir_no_policy();
		return 0;
	}
	key.prefix_length = WEIR_POLICY_PREFIX_FULL;
	key.direction = party->direction;
	key.protocol = tuple->protocol;
	key.port_be = flow->policy_port_be;
	if (party->direction == WEIR_EGRESS && weir_is_learnable(party->identity)) {
		struct weir_learned_key learned_key;

		learned_key.endpoint = party->endpoint;
		learned_key.address = tuple->destination;
		learned = bpf_map_lookup_elem(&weir_learned, &learned_key);
	}
	if (learned) {
		now = bpf_ktime_get_boot_ns();
		expired = now > learned->expires_ns;
		if (!expired || flow->established)
			groups = learned->groups;
	}
	/* A second time without the audited policies, where these may be what refuses. In a loop,
	 * because a second copy of the code would take stack that is not there. */
	for (int round = 0; round < 2; round++) {
		struct weir_policy_entry *peer, *any, *learned_row = 0;

		key.identity = party->identity;
		peer = bpf_map_lookup_elem(rows, &key);
		key.identity = WEIR_IDENTITY_ANY;
		any = bpf_map_lookup_elem(rows, &key);
		if (learned) {
			key.identity = WEIR_IDENTITY_LEARNED;
			learned_row = bpf_map_lookup_elem(rows, &key);
		}
		*answer = weir_judge_rows(peer, any, learned_row, groups, expired, party->identity);
		if (round)
			weir_soften(answer, rule);
		if (answer->verdict != WEIR_DENY || !(party->flags & WEIR_ENDPOINT_AUDITED))
			break;
		rule = answer->rule;
		key.direction |= WEIR_WITHOUT_AUDITED;
	}
	if (learned && answer->learned && weir_needs_touch(now, learned->last_used_ns))
		learned->last_used_ns = now;
	return 0;
}

/* Judges a flow by all policies that it has to satisfy at this hook, and tells what came out. */
__noinline int weir_decide(const struct weir_packet *packet, struct weir_flow *flow)
{
	struct weir_party own = {}, other = {};
	struct weir_judgement first = {}, second = weir_not_enforced();
	struct weir_endpoint *destination = 0;
	struct weir_tuple tuple;
	bool second_decides;
	__u32 slot;

	if (!packet || !flow)
		return 0;
	if (flow->is_reply)
		weir_reverse(&packet->tuple, &tuple);
	else
		tuple = packet->tuple;
	slot = weir_slot(flow->revision);
	own.endpoint = flow->endpoint;
	own.flags = flow->flags;
	own.direction = flow->direction;
	if (flow->direction == WEIR_EGRESS) {
		own.identity = weir_identity_of(&tuple.destination, slot);
		destination = bpf_map_lookup_elem(&weir_endpoints, &tuple.destination);
	} else {
		own.identity = weir_identity_of(&tuple.source, slot);
	}
	weir_ask(flow, &tuple, &own, &first);
	if (destination) {
		other.endpoint = destination->id;
		other.flags = destination->flags[slot & 1];
		other.direction = WEIR_INGRESS;
		other.identity = weir_identity_of(&tuple.source, slot);
		weir_ask(flow, &tuple, &other, &second);
	}

	second_decides = weir_second_is_stricter(first.verdict, second.verdict);
	flow->verdict = second_decides ? second.verdict : first.verdict;
	flow->reason = second_decides ? second.reason : first.reason;
	flow->rule = second_decides ? second.rule : first.rule;
	flow->learned = first.learned && first.verdict != WEIR_DENY;
	flow->reason_direction = second_decides ? WEIR_INGRESS : flow->direction;

	if (first.reason == WEIR_DROP_AUDIT && flow->verdict != WEIR_DENY && !flow->established)
		weir_count_drop(WEIR_DROP_AUDIT, own.direction);
	/* An allow by the second is reported where it is enforced, in weir_to_pod; allows and
	 * redirects only when the flow is new. */
	if (flow->verdict == WEIR_DENY ? !second_decides : first.judged && !flow->established)
		weir_emit(&tuple, own.endpoint, own.identity, own.direction, &first);
	if (flow->verdict == WEIR_DENY ? second_decides
				       : second.verdict == WEIR_REDIRECT && !flow->established)
		weir_emit(&tuple, other.endpoint, other.identity, other.direction, &second);
	return 0;
}

static __always_inline void weir_deny(struct weir_flow *flow, __u8 reason, __u8 direction)
{
	flow->verdict = WEIR_DENY;
	flow->reason = reason;
	flow->reason_direction = direction;
}

static __always_inline void weir_take(struct weir_flow *flow, const struct weir_ct_entry *entry)
{
	flow->entry_verdict = entry->verdict;
	flow->entry_flags = entry->flags;
	flow->verdict = entry->verdict;
	flow->rule = entry->rule;
	flow->turn = entry->turn;
}

/* Of a destination: its policy has a say about what is sent to it. */
static __always_inline bool weir_is_guarded(const struct weir_endpoint *endpoint, __u32 slot)
{
	return endpoint &&
	       (endpoint->flags[slot & 1] & (WEIR_ENDPOINT_INGRESS_ENFORCED | WEIR_ENDPOINT_HELD));
}

/* Are there entries of this packet's flow, if it is known? */
static __always_inline bool weir_is_tracked(const struct weir_packet *packet,
					    const struct weir_flow *flow)
{
	struct weir_addr to;

	if (flow->flags & WEIR_ENFORCED)
		return true;
	if (flow->direction != WEIR_EGRESS)
		return false;
	to = packet->tuple.destination; /* Linux 6.1 takes no key of the caller's */
	return weir_is_guarded(bpf_map_lookup_elem(&weir_endpoints, &to),
			       weir_slot(flow->revision));
}

/* The verdict of a packet of a known TCP connection of which nothing else has to be known, by one
 * look-up; WEIR_DENY: there is more to it. Most packets of most pods end here. */
__noinline int weir_recall(const struct weir_packet *packet, struct weir_flow *flow,
			   __u32 may_redirect)
{
	struct weir_ct_entry *entry;
	struct weir_ct_key key;
	__u8 flags = 0;
	bool answer;

	if (!packet || !flow || packet->reason || packet->tuple.protocol != WEIR_PROTO_TCP ||
	    weir_is_open(packet->tuple.protocol, packet->tcp_flags) ||
	    !weir_is_tracked(packet, flow))
		return WEIR_DENY;
	answer = !weir_is_from_client(&packet->tuple);
	weir_flow_key(&key, flow->endpoint, answer ? !flow->direction : flow->direction,
		      &packet->tuple);
	if (answer)
		weir_reverse(&packet->tuple, &key.tuple);
	entry = weir_find_flow(&key, flow->now);
	if (!entry || entry->revision != flow->revision ||
	    !weir_is_recalled(entry->verdict, entry->flags, answer, may_redirect))
		return WEIR_DENY;
	if (weir_is_close(packet->tuple.protocol, packet->tcp_flags))
		flags = WEIR_CT_CLOSING;
	if (answer)
		flags |= WEIR_CT_REPLIED;
	weir_touch_flow(entry, flow->endpoint,
			answer ? &packet->tuple.source : &packet->tuple.destination, flags,
			flow->now);
	weir_take(flow, entry);
	return flow->verdict;
}

/* Finds the flow that a packet belongs to, as its next packet or as its answer. 1: its entry has
 * the verdict. 0: it is to be judged; `flow` is then made ready for that. */
__noinline int weir_look_up(const struct weir_packet *packet, struct weir_flow *flow)
{
	struct weir_ct_entry *entry;
	struct weir_ct_key key;
	__u8 closing;
	bool opens;

	if (!packet || !flow)
		return 0;
	opens = weir_is_open(packet->tuple.protocol, packet->tcp_flags);
	closing = weir_is_close(packet->tuple.protocol, packet->tcp_flags) ? WEIR_CT_CLOSING : 0;

	if (!packet->is_icmp || packet->icmp_role == WEIR_ICMP_REQUEST) {
		weir_flow_key(&key, flow->endpoint, flow->direction, &packet->tuple);
		entry = weir_find_flow(&key, flow->now);
		if (entry && !opens) {
			if (entry->revision == flow->revision) {
				weir_touch_flow(entry, flow->endpoint, &packet->tuple.destination,
						closing, flow->now);
				weir_take(flow, entry);
				return 1;
			}
			flow->established = 1;
			weir_take(flow, entry);
		}
	}
	if (packet->is_icmp ? packet->icmp_role == WEIR_ICMP_REPLY : !opens) {
		weir_flow_key(&key, flow->endpoint, !flow->direction, &packet->tuple);
		weir_reverse(&packet->tuple, &key.tuple);
		entry = weir_find_flow(&key, flow->now);
		if (entry) {
			flow->is_reply = 1;
			weir_take(flow, entry);
			if (entry->revision == flow->revision) {
				weir_touch_flow(entry, flow->endpoint, &packet->tuple.source,
						closing | WEIR_CT_REPLIED, flow->now);
				return 1;
			}
			flow->established = 1;
			flow->direction = !flow->direction;
			flow->policy_port_be = packet->tuple.source_port_be;
			if (packet->is_icmp)
				flow->policy_port_be =
				    packet->is_v6 ? bpf_htons(128) : bpf_htons(8);
		}
	}
	return 0;
}

/* What the policies' verdict means for a flow that was decided before, and for one that cannot be
 * redirected here. */
__noinline int weir_settle(const struct weir_packet *packet, struct weir_flow *flow,
			   __u32 may_redirect)
{
	if (!packet || !flow)
		return 0;
	if (flow->established)
		flow->verdict =
		    weir_keep_verdict(flow->entry_verdict, flow->verdict, packet->tuple.protocol);
	if (flow->verdict != WEIR_REDIRECT)
		return 0;
	/* What was allowed to pass by the proxy cannot be handed to it by an answer. */
	if (flow->is_reply && flow->entry_verdict == WEIR_ALLOW)
		weir_deny(flow, WEIR_DROP_MISSED_REDIRECT, !flow->direction);
	else if (!flow->is_reply && !may_redirect)
		weir_deny(flow, WEIR_DROP_MISSED_REDIRECT, flow->direction);
	return 0;
}

/* Workers have redirected flows by turns: left to chance, of 32 connections one of two workers has
 * 18 or more every other time. */
static __always_inline __u8 weir_next_turn(void)
{
	static __u32 turns;

	return (__u8)__sync_fetch_and_add(&turns, 1);
}

/* Writes down what was decided. */
__noinline int weir_remember(const struct weir_packet *packet, struct weir_flow *flow)
{
	struct weir_ct_entry entry = {};
	struct weir_ct_key key;

	if (!packet || !flow)
		return 0;
	if (packet->is_icmp && packet->icmp_role != WEIR_ICMP_REQUEST && !flow->is_reply)
		return 0;
	weir_flow_key(&key, flow->endpoint, flow->direction, &packet->tuple);
	if (flow->is_reply)
		weir_reverse(&packet->tuple, &key.tuple);
	if (flow->verdict == WEIR_DENY) {
		bpf_map_delete_elem(&weir_conntrack, &key);
		return 0;
	}
	if (flow->direction == WEIR_EGRESS && !flow->established && !weir_is_translated(packet) &&
	    weir_takes_service_port(&packet->tuple, flow->now)) {
		weir_deny(flow, WEIR_DROP_PORT_IN_USE, flow->direction);
		return 0;
	}
	entry.last_seen_ns = flow->now;
	entry.revision = flow->revision;
	entry.rule = flow->rule;
	entry.verdict = flow->verdict;
	/* Kept, also where the packet is the last of a handshake by cookies: only the listener that
	 * has given a cookie takes it. */
	if (flow->verdict == WEIR_REDIRECT && !flow->established)
		flow->turn = weir_next_turn();
	entry.turn = flow->turn;
	entry.flags = flow->learned ? WEIR_CT_LEARNED : 0;
	/* What was not before stays so: weir_look_closer. */
	if (flow->plain && (!flow->established || (flow->entry_flags & WEIR_CT_PLAIN)))
		entry.flags |= WEIR_CT_PLAIN;
	if (flow->established)
		entry.flags |= flow->entry_flags & (WEIR_CT_REPLIED | WEIR_CT_CLOSING);
	if (flow->is_reply)
		entry.flags |= WEIR_CT_REPLIED;
	if (weir_is_close(packet->tuple.protocol, packet->tcp_flags))
		entry.flags |= WEIR_CT_CLOSING;
	flow->entry_flags = entry.flags;
	if (bpf_map_update_elem(&weir_conntrack, &key, &entry, BPF_ANY)) {
		weir_deny(flow, WEIR_DROP_CT_FULL, flow->direction);
		return 0;
	}
	if (flow->verdict == WEIR_ALLOW && !flow->established) {
		/* Its answers are its own, also if the proxy has used the same ports before. */
		weir_reverse(&packet->tuple, &key.tuple);
		bpf_map_delete_elem(&weir_returns, &key.tuple);
	}
	return 0;
}

/* The verdict on a packet: from its flow's entry, or by asking the policies and remembering what
 * they say. `flow` comes in with the packet's own direction. Calls one after the other and not one
 * within the other: frames add up, in steps of 32 bytes on Linux 6.1. */
static __always_inline void weir_track(const struct weir_packet *packet, struct weir_flow *flow,
				       __u32 may_redirect)
{
	if (weir_look_up(packet, flow))
		return;
	weir_decide(packet, flow);
	weir_settle(packet, flow, may_redirect);
	weir_remember(packet, flow);
}

/* The verdict of the endpoint's flow that an ICMP error is about; DENY when it has none.
 * `direction` is that of the quoted packet, as seen from the endpoint. */
__noinline int weir_error_verdict(struct __sk_buff *skb, const struct weir_packet *packet,
				  __u32 endpoint, __u32 direction, __u32 revision)
{
	__u64 now = weir_now();
	struct weir_packet quoted;
	struct weir_ct_entry *entry;
	struct weir_ct_key key;

	if (!packet || !weir_parse_quoted(skb, packet, &quoted))
		return WEIR_DENY;
	weir_flow_key(&key, endpoint, direction, &quoted.tuple);
	entry = weir_find_flow(&key, now);
	if (!entry) {
		weir_reverse(&quoted.tuple, &key.tuple);
		key.direction = !direction;
		entry = weir_find_flow(&key, now);
	}
	return entry && entry->revision == revision ? entry->verdict : WEIR_DENY;
}

/* The verdict of the endpoint's own flow that the packet answers; DENY when there is none. */
__noinline int weir_answered_verdict(const struct weir_packet *packet, __u32 endpoint)
{
	struct weir_ct_entry *entry;
	struct weir_ct_key key;

	if (!packet || weir_is_open(packet->tuple.protocol, packet->tcp_flags))
		return WEIR_DENY;
	if (packet->is_icmp && packet->icmp_role != WEIR_ICMP_REPLY)
		return WEIR_DENY;
	weir_flow_key(&key, endpoint, WEIR_EGRESS, &packet->tuple);
	weir_reverse(&packet->tuple, &key.tuple);
	entry = weir_find_flow(&key, weir_now());
	return entry ? entry->verdict : WEIR_DENY;
}

#endif
