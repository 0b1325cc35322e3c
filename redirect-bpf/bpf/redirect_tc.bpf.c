/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0)
 *
 * The programs of the data path. They fetch what decide.h asks for and do what it answers.
 *
 *   weir_from_pod  tc ingress of the host side of a pod's veth: what the pod sends
 *   weir_to_pod    tc egress of the same: what the pod is about to receive
 *   weir_from_net  tc ingress of every other interface: what enters the node
 *   weir_from_ports the same of a bridge of which all ports are pods'
 *   weir_to_net    tc egress of every other interface: what leaves the node
 *   weir_to_socket sk_lookup of the node: what reaches its own sockets
 *   weir_reopen    sk_lookup of the node: the listener for a SYN to a socket in TIME_WAIT
 *
 * Egress policy is enforced in weir_from_pod, together with the ingress policy of a destination on
 * this node, because that is where both may still redirect. Ingress policy is enforced in
 * weir_to_pod, and in weir_from_net as far as it redirects.
 *
 * A packet to a service is judged as one to its backend, and becomes one in weir_from_pod, unless
 * it is redirected: the proxy is given it as the pod has sent it, and dials the backend itself. The
 * answer is given the service's address again in weir_to_pod.
 */
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "redirect-bpf/abi/weir_abi.h"
#include "redirect-bpf/bpf/births.h"
#include "redirect-bpf/bpf/conntrack.h"
#include "redirect-bpf/bpf/decide.h"
#include "redirect-bpf/bpf/maps.h"
#include "redirect-bpf/bpf/parse.h"
#include "redirect-bpf/bpf/rewrite.h"
#include "redirect-bpf/bpf/services.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Not in the headers of Linux 6.1. NEXT leaves the packet to whoever is attached behind (the CNI);
 * PASS and DROP end the matter. */
enum {
	WEIR_NEXT = -1,
	WEIR_PASS = 0,
	WEIR_SHOT = 2,
};
#define WEIR_PACKET_HOST 0  /* PACKET_HOST of linux/if_packet.h */
#define WEIR_FAMILY_IPV6 10 /* AF_INET6 */

#define WEIR_ENFORCED (WEIR_ENDPOINT_INGRESS_ENFORCED | WEIR_ENDPOINT_EGRESS_ENFORCED)
/* Of a destination: its policy has a say about what is sent to it. */
#define WEIR_GUARDED (WEIR_ENDPOINT_INGRESS_ENFORCED | WEIR_ENDPOINT_HELD)

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
	__u8 pad[7];
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
	__u64 groups = 0;
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
		expired = flow->now > learned->expires_ns;
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
	if (learned && answer->learned && weir_needs_touch(flow->now, learned->last_used_ns))
		learned->last_used_ns = flow->now;
	return 0;
}

/* Judges a flow by all policies that it has to satisfy at this hook, and tells what came out. */
__noinline int weir_decide(struct weir_flow *flow, const struct weir_tuple *tuple)
{
	struct weir_party own = {}, other = {};
	struct weir_judgement first = {}, second = weir_not_enforced();
	struct weir_endpoint *destination = 0;
	bool second_decides;
	__u32 slot;

	if (!flow || !tuple)
		return 0;
	slot = weir_slot(flow->revision);
	own.endpoint = flow->endpoint;
	own.flags = flow->flags;
	own.direction = flow->direction;
	if (flow->direction == WEIR_EGRESS) {
		own.identity = weir_identity_of(&tuple->destination, slot);
		destination = bpf_map_lookup_elem(&weir_endpoints, &tuple->destination);
	} else {
		own.identity = weir_identity_of(&tuple->source, slot);
	}
	weir_ask(flow, tuple, &own, &first);
	if (destination) {
		other.endpoint = destination->id;
		other.flags = destination->flags[slot & 1];
		other.direction = WEIR_INGRESS;
		other.identity = weir_identity_of(&tuple->source, slot);
		weir_ask(flow, tuple, &other, &second);
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
		weir_emit(tuple, own.endpoint, own.identity, own.direction, &first);
	if (flow->verdict == WEIR_DENY ? second_decides
				       : second.verdict == WEIR_REDIRECT && !flow->established)
		weir_emit(tuple, other.endpoint, other.identity, other.direction, &second);
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

/* Asks the policies about a flow that is new or was decided under another revision. */
__noinline int weir_judge(const struct weir_packet *packet, struct weir_flow *flow,
			  __u32 may_redirect)
{
	struct weir_tuple reversed;

	if (!packet || !flow)
		return 0;
	if (flow->is_reply) {
		weir_reverse(&packet->tuple, &reversed);
		weir_decide(flow, &reversed);
	} else {
		weir_decide(flow, &packet->tuple);
	}
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

/* Writes down what weir_judge() has found. */
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
	entry.flags = flow->learned ? WEIR_CT_LEARNED : 0;
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
 * they say. `flow` comes in with the packet's own direction. Three calls one after the other and
 * not one within the other: frames add up. */
static __always_inline void weir_track(const struct weir_packet *packet, struct weir_flow *flow,
				       __u32 may_redirect)
{
	if (weir_look_up(packet, flow))
		return;
	weir_judge(packet, flow, may_redirect);
	weir_remember(packet, flow);
}

/* The state of this TCP flow's socket, other than a listener; 0 when there is none. */
__noinline int weir_socket_state(struct __sk_buff *skb, const struct weir_packet *packet)
{
	struct bpf_sock_tuple tuple = {};
	struct bpf_sock *socket;
	int state;

	if (!packet)
		return 0;
	if (packet->is_v6) {
		__builtin_memcpy(tuple.ipv6.saddr, packet->tuple.source.bytes, 16);
		__builtin_memcpy(tuple.ipv6.daddr, packet->asked.address.bytes, 16);
		tuple.ipv6.sport = packet->tuple.source_port_be;
		tuple.ipv6.dport = packet->asked.port_be;
		socket =
		    bpf_skc_lookup_tcp(skb, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
	} else {
		__builtin_memcpy(&tuple.ipv4.saddr, packet->tuple.source.bytes + 12, 4);
		__builtin_memcpy(&tuple.ipv4.daddr, packet->asked.address.bytes + 12, 4);
		tuple.ipv4.sport = packet->tuple.source_port_be;
		tuple.ipv4.dport = packet->asked.port_be;
		socket =
		    bpf_skc_lookup_tcp(skb, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	}
	if (!socket)
		return 0;
	state = socket->state != BPF_TCP_LISTEN ? (int)socket->state : 0;
	bpf_sk_release(socket);
	return state;
}

/* The kernel opens a new connection for a SYN to a socket in TIME_WAIT if there is a listener by
 * the packet's own addresses. weir's are not known by these: weir_reopen tells which it is. Else
 * the client is answered as of the old connection, resets it, and tries again a second later. */
static __always_inline void weir_announce(const struct weir_packet *packet, __u32 index)
{
	struct weir_tuple asked = packet->tuple;

	asked.destination = packet->asked.address;
	asked.destination_port_be = packet->asked.port_be;
	bpf_map_update_elem(&weir_reopened, &asked, &index, BPF_ANY);
}

/* Later packets of the flow need no look-up for their socket. */
static __always_inline void weir_mark_settled(const struct weir_packet *packet,
					      const struct weir_flow *flow)
{
	struct weir_ct_entry *entry;
	struct weir_ct_key key;

	weir_flow_key(&key, flow->endpoint, flow->direction, &packet->tuple);
	entry = bpf_map_lookup_elem(&weir_conntrack, &key);
	if (entry)
		entry->flags |= WEIR_CT_SETTLED;
}

/* Hands a packet of a redirected flow to the proxy. Returns a WEIR_DROP_* reason. */
__noinline int weir_to_proxy(struct __sk_buff *skb, const struct weir_packet *packet,
			     const struct weir_flow *flow, __u32 workers)
{
	struct bpf_sock *listener;
	__u32 kind, index;
	__u8 protocol, step;
	long failed;
	bool opens;
	int state;

	if (!packet || !flow)
		return WEIR_DROP_NO_PROXY;
	protocol = packet->tuple.protocol;
	opens = weir_is_open(protocol, packet->tcp_flags);
	step = weir_redirect_step(protocol, opens, flow->entry_flags);
	if (step == WEIR_STEP_REFUSE)
		return WEIR_DROP_NO_PROXY;
	state = step == WEIR_STEP_LOOK_UP ? weir_socket_state(skb, packet) : 0;
	if (step == WEIR_STEP_LOOK_UP) {
		step = state ? WEIR_STEP_MARK : WEIR_STEP_ASSIGN;
		if (state && !opens)
			weir_mark_settled(packet, flow);
	}
	if (step == WEIR_STEP_ASSIGN || (opens && state == BPF_TCP_TIME_WAIT)) {
		if (!workers || workers > WEIR_MAX_WORKERS)
			return WEIR_DROP_NO_PROXY;
		kind = protocol == WEIR_PROTO_UDP ? WEIR_LISTENER_UDP : WEIR_LISTENER_TCP;
		index = weir_listener_index(kind, packet->is_v6, bpf_get_hash_recalc(skb) % workers,
					    flow->endpoint % WEIR_UDP_LANES);
	}
	if (step == WEIR_STEP_MARK && opens && state == BPF_TCP_TIME_WAIT)
		weir_announce(packet, index);
	if (step == WEIR_STEP_ASSIGN) {
		listener = bpf_map_lookup_elem(&weir_listeners, &index);
		if (!listener)
			return WEIR_DROP_NO_PROXY;
		failed = bpf_sk_assign(skb, listener, 0);
		bpf_sk_release(listener);
		if (failed)
			return WEIR_DROP_NO_PROXY;
	}
	skb->mark = weir_with_mark(skb->mark, WEIR_MARK_TO_PROXY);
	return WEIR_DROP_NONE;
}

enum {
	WEIR_ANSWERS_NOBODY = 0,
	WEIR_ANSWERS_PROXY = 1,
	WEIR_ANSWERS_RESET = 2, /* the proxy, which has reset the connection */
};

/* Does the packet answer the proxy's own connection, or quote it in an ICMP error? `from_pod`: an
 * error then has to be about a packet to its own sender. */
__noinline int weir_answers_proxy(struct __sk_buff *skb, const struct weir_packet *packet,
				  __u32 from_pod)
{
	__u64 now = bpf_ktime_get_boot_ns();
	struct weir_packet quoted;
	struct weir_tuple reversed;
	__u64 found;

	if (!packet || packet->reason)
		return WEIR_ANSWERS_NOBODY;
	if (packet->icmp_role != WEIR_ICMP_ERROR) {
		found = weir_find_return(&packet->tuple, now);
		if (!found)
			return WEIR_ANSWERS_NOBODY;
		return found & WEIR_RETURN_RESET ? WEIR_ANSWERS_RESET : WEIR_ANSWERS_PROXY;
	}
	if (!weir_parse_quoted(skb, packet, &quoted))
		return WEIR_ANSWERS_NOBODY;
	if (from_pod && !weir_same_address(&quoted.tuple.destination, &packet->tuple.source))
		return WEIR_ANSWERS_NOBODY;
	weir_reverse(&quoted.tuple, &reversed);
	return weir_find_return(&reversed, now) ? WEIR_ANSWERS_PROXY : WEIR_ANSWERS_NOBODY;
}

/* The verdict of the endpoint's flow that an ICMP error is about; DENY when it has none.
 * `direction` is that of the quoted packet, as seen from the endpoint. */
__noinline int weir_error_verdict(struct __sk_buff *skb, const struct weir_packet *packet,
				  __u32 endpoint, __u32 direction, __u32 revision)
{
	__u64 now = bpf_ktime_get_boot_ns();
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
	entry = weir_find_flow(&key, bpf_ktime_get_boot_ns());
	return entry ? entry->verdict : WEIR_DENY;
}

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

/* To the proxy, by the mark. The port of a bridge is no way there: the bridge would hand the frame
 * to whomever it is addressed to on the link, and netfilter there forget its socket. So it enters
 * by the bridge itself, where weir_from_net makes it the node's. */
static __always_inline int weir_hand_up(struct __sk_buff *skb)
{
	__u32 port = skb->ifindex;
	__u32 *bridge = bpf_map_lookup_elem(&weir_bridges, &port);

	return bridge ? bpf_redirect(*bridge, BPF_F_INGRESS) : WEIR_PASS;
}

static __always_inline int weir_answered(struct __sk_buff *skb)
{
	weir_count(WEIR_COUNT_RETURNED);
	skb->mark = weir_with_mark(skb->mark, WEIR_MARK_TO_PROXY);
	return weir_hand_up(skb);
}

/* A server that the proxy's reset has not reached, or that has not taken it: the kernel answers
 * nothing to a packet that has the mark and finds no socket, and the server would wait for ever. */
static __always_inline int weir_answered_late(struct __sk_buff *skb,
					      const struct weir_packet *packet)
{
	if (!weir_is_answered_with_reset(packet->tuple.protocol, packet->tcp_flags))
		return weir_answered(skb);
	weir_count(WEIR_COUNT_RETURNED);
	return weir_make_reset(skb, packet) ? weir_send_back(skb) : WEIR_SHOT;
}

static __always_inline int weir_redirect(struct __sk_buff *skb, const struct weir_packet *packet,
					 const struct weir_flow *flow, __u32 workers)
{
	int reason = weir_to_proxy(skb, packet, flow, workers);

	if (reason)
		return weir_drop_packet(packet, flow->endpoint, reason, flow->direction);
	weir_count(WEIR_COUNT_REDIRECTED);
	return weir_hand_up(skb);
}

static __always_inline bool weir_is_held(const struct weir_endpoint *endpoint, __u32 slot)
{
	return endpoint && (endpoint->flags[slot & 1] & WEIR_ENDPOINT_HELD);
}

static __always_inline bool weir_is_here(const struct weir_addr *address, __u32 slot)
{
	return bpf_map_lookup_elem(&weir_endpoints, address) ||
	       weir_identity_of(address, slot) == WEIR_IDENTITY_HOST;
}

static __always_inline bool weir_passes_as_neighbour(const struct weir_packet *packet, __u32 slot)
{
	bool here = false;

	if (!packet->is_icmp || !packet->is_v6)
		return false;
	if (packet->icmp_type == 135 || packet->icmp_type == 136)
		here = weir_is_here(&packet->tuple.destination, slot);
	return weir_is_neighbour_message(packet->icmp_type, packet->hop_limit,
					 &packet->tuple.destination, here);
}

/* One read: everything else that a packet meets hangs on it. */
static __always_inline struct weir_config weir_read_config(void)
{
	struct weir_config copy = {};
	struct weir_config *config;
	__u32 zero = 0;

	config = bpf_map_lookup_elem(&weir_config, &zero);
	if (config) {
		copy.revision = *(volatile __u32 *)&config->revision;
		copy.workers = *(volatile __u32 *)&config->workers;
	}
	return copy;
}

static __always_inline void weir_begin(struct weir_flow *flow, const struct weir_packet *packet,
				       const struct weir_endpoint *self, __u32 revision,
				       __u8 direction)
{
	__builtin_memset(flow, 0, sizeof(*flow));
	flow->now = bpf_ktime_get_boot_ns();
	flow->revision = revision;
	flow->endpoint = self->id;
	flow->flags = self->flags[weir_slot(revision)];
	flow->policy_port_be = packet->policy_port_be;
	flow->direction = direction;
	flow->reason_direction = direction;
}

/* A pod that is its own backend: it sees the service's address as its client's. */
__noinline int weir_to_self(struct __sk_buff *skb, const struct weir_packet *packet)
{
	struct weir_backend from = {}, to = {};

	if (!packet)
		return WEIR_SHOT;
	to.address = packet->tuple.destination;
	to.port_be = packet->tuple.destination_port_be;
	if (!weir_rewrite(skb, packet, &packet->asked, &to, WEIR_SIDE_DESTINATION))
		return WEIR_SHOT;
	from.address = packet->tuple.source;
	from.port_be = packet->tuple.source_port_be;
	to.address = packet->asked.address;
	to.port_be = from.port_be;
	if (!weir_rewrite(skb, packet, &from, &to, WEIR_SIDE_SOURCE))
		return WEIR_SHOT;
	return weir_send_back(skb);
}

/* And its answer: from the service, to itself. */
__noinline int weir_from_self(struct __sk_buff *skb, const struct weir_packet *packet,
			      const struct weir_backend *service)
{
	struct weir_backend from = {}, to = {};

	if (!packet || !service)
		return WEIR_SHOT;
	from.address = packet->tuple.source;
	from.port_be = packet->tuple.source_port_be;
	if (!weir_rewrite(skb, packet, &from, service, WEIR_SIDE_SOURCE))
		return WEIR_SHOT;
	to.address = packet->tuple.source;
	to.port_be = packet->asked.port_be;
	if (!weir_rewrite(skb, packet, &packet->asked, &to, WEIR_SIDE_DESTINATION))
		return WEIR_SHOT;
	return weir_send_back(skb);
}

/* Says no at once: RST or "port unreachable". */
static __always_inline int weir_refuse(struct __sk_buff *skb, const struct weir_packet *packet,
				       __u32 endpoint)
{
	bool made;

	weir_drop_packet(packet, endpoint, WEIR_DROP_NO_BACKEND, WEIR_EGRESS);
	if (packet->tuple.protocol == WEIR_PROTO_TCP)
		made = weir_make_reset(skb, packet);
	else
		made = packet->is_v6 ? weir_make_unreachable_v6(skb, packet)
				     : weir_make_unreachable_v4(skb, packet);
	return made ? weir_send_back(skb) : WEIR_SHOT;
}

/* What weir_from_pod lets go on: to the backend, where it goes to a service. */
static __always_inline int weir_go_on(struct __sk_buff *skb, const struct weir_packet *packet,
				      const struct weir_choice *choice)
{
	if (weir_is_translated(packet) &&
	    !weir_rewrite(skb, packet, &packet->asked, &choice->backend, WEIR_SIDE_DESTINATION))
		return WEIR_SHOT;
	return WEIR_NEXT;
}

SEC("tcx/ingress")
int weir_from_pod(struct __sk_buff *skb)
{
	struct weir_config config = weir_read_config();
	__u32 slot = weir_slot(config.revision);
	struct weir_endpoint *self, *other;
	struct weir_packet packet;
	struct weir_choice choice;
	struct weir_flow flow;
	__u32 mark = weir_without_mark(skb->mark);
	int answers, verdict;
	__u16 guarded;
	__u8 reason;

	if (mark != skb->mark)
		skb->mark = mark;
	if (!weir_parse(skb, &packet, &reason))
		return reason ? weir_drop_packet(&packet, 0, reason, WEIR_EGRESS) : WEIR_NEXT;
	if (packet.reason == WEIR_DROP_MALFORMED)
		return weir_drop_packet(&packet, 0, packet.reason, WEIR_EGRESS);
	if (weir_passes_as_neighbour(&packet, slot))
		return WEIR_NEXT;

	self = bpf_map_lookup_elem(&weir_endpoints, &packet.tuple.source);
	if (!self || self->ifindex != skb->ifindex)
		return weir_drop_packet(
		    &packet, 0, weir_is_held(self, slot) ? WEIR_DROP_NO_POLICY : WEIR_DROP_SPOOFED,
		    WEIR_EGRESS);
	weir_begin(&flow, &packet, self, config.revision, WEIR_EGRESS);
	if (flow.flags & WEIR_ENDPOINT_HELD)
		return weir_drop_packet(&packet, flow.endpoint, WEIR_DROP_NO_POLICY, WEIR_EGRESS);
	if (weir_is_loopback(&packet.tuple.destination))
		return weir_drop_packet(&packet, flow.endpoint, WEIR_DROP_TO_LOOPBACK, WEIR_EGRESS);
	answers = weir_answers_proxy(skb, &packet, 1);
	if (answers == WEIR_ANSWERS_RESET)
		return weir_answered_late(skb, &packet);
	if (answers)
		return weir_answered(skb);

	__builtin_memset(&choice, 0, sizeof(choice));
	choice.now = flow.now;
	choice.endpoint = flow.endpoint;
	weir_find_backend(&packet, &choice);
	if (choice.step == WEIR_SERVICE_ANSWER_SELF) {
		weir_count(WEIR_COUNT_ALLOWED);
		return weir_from_self(skb, &packet, &choice.backend);
	}
	/* The cluster's own translation serves pods that no policy concerns, also while no weir is
	 * there to hear of backends that come and go. */
	if (choice.step != WEIR_SERVICE_LEAVE && choice.step != WEIR_SERVICE_KEEP &&
	    !(flow.flags & WEIR_ENFORCED) && !(choice.service.flags & WEIR_SERVICE_GUARDED)) {
		weir_count(WEIR_COUNT_UNTOUCHED);
		return WEIR_NEXT;
	}
	if (choice.step == WEIR_SERVICE_REFUSE)
		return weir_refuse(skb, &packet, flow.endpoint);
	if (choice.step == WEIR_SERVICE_PORT_IN_USE)
		return weir_drop_packet(&packet, flow.endpoint, WEIR_DROP_PORT_IN_USE, WEIR_EGRESS);
	if (choice.step != WEIR_SERVICE_LEAVE) {
		packet.tuple.destination = choice.backend.address;
		packet.tuple.destination_port_be = choice.backend.port_be;
		packet.policy_port_be = choice.backend.port_be;
		flow.policy_port_be = choice.backend.port_be;
		/* No policy has a say in what a pod says to itself: most of it is never seen. */
		if (weir_same_address(&packet.tuple.source, &packet.tuple.destination)) {
			if (choice.step == WEIR_SERVICE_CHOOSE &&
			    !weir_keep_backend(&packet, &choice))
				return weir_drop_packet(&packet, flow.endpoint, WEIR_DROP_CT_FULL,
							WEIR_EGRESS);
			weir_count(WEIR_COUNT_ALLOWED);
			return weir_to_self(skb, &packet);
		}
	}

	other = bpf_map_lookup_elem(&weir_endpoints, &packet.tuple.destination);
	guarded = other ? other->flags[slot & 1] & WEIR_GUARDED : 0;
	if (!(flow.flags & WEIR_ENFORCED) && !guarded && choice.step != WEIR_SERVICE_CHOOSE) {
		weir_count(WEIR_COUNT_UNTOUCHED);
		return weir_go_on(skb, &packet, &choice);
	}
	if (packet.reason) {
		if ((flow.flags & WEIR_ENDPOINT_EGRESS_ENFORCED) || guarded)
			return weir_drop_packet(&packet, flow.endpoint, packet.reason, WEIR_EGRESS);
		weir_count(WEIR_COUNT_ALLOWED);
		return WEIR_NEXT;
	}
	if (packet.icmp_role == WEIR_ICMP_ERROR) {
		verdict =
		    weir_error_verdict(skb, &packet, flow.endpoint, WEIR_INGRESS, config.revision);
		if (verdict == WEIR_REDIRECT)
			return weir_answered(skb);
		if (verdict == WEIR_ALLOW) {
			weir_count(WEIR_COUNT_ALLOWED);
			return WEIR_NEXT;
		}
	}

	weir_track(&packet, &flow, true);
	if (flow.verdict != WEIR_DENY && choice.step == WEIR_SERVICE_CHOOSE &&
	    !weir_keep_backend(&packet, &choice))
		return weir_drop_packet(&packet, flow.endpoint, WEIR_DROP_CT_FULL, WEIR_EGRESS);
	if (flow.verdict == WEIR_ALLOW) {
		weir_count(WEIR_COUNT_ALLOWED);
		return weir_go_on(skb, &packet, &choice);
	}
	if (flow.verdict != WEIR_REDIRECT)
		return weir_drop_flow(&packet, &flow);
	/* The proxy answers for this pod on that flow; the pod itself has no part in it. */
	if (flow.is_reply)
		return weir_drop_packet(&packet, flow.endpoint, WEIR_DROP_MISSED_REDIRECT,
					WEIR_EGRESS);
	return weir_redirect(skb, &packet, &flow, config.workers);
}

/* Of a packet that came past us (births.h): may it go on? Neighbour messages may, as at a pod's
 * interface: without them a bridge's pods could not be made ready. */
static __always_inline bool weir_is_held_birth(struct __sk_buff *skb,
					       const struct weir_packet *packet, __u32 slot)
{
	const struct weir_endpoint *pod = 0;

	if (weir_passes_as_neighbour(packet, slot))
		return false;
	if (packet->has_addresses)
		pod = bpf_map_lookup_elem(&weir_endpoints, &packet->tuple.source);
	return weir_is_birth(weir_netns_of(skb), skb->ingress_ifindex, pod != 0);
}

/* What weir_to_pod and weir_to_net have in common. False: go on. */
static __always_inline bool weir_leaves_by_mark(struct __sk_buff *skb,
						const struct weir_packet *packet, __u32 direction,
						int *action)
{
	__u32 mark = weir_mark_of(skb->mark);

	if (mark == WEIR_MARK_FROM_PROXY) {
		if (!packet->reason)
			weir_record_return(packet, bpf_ktime_get_boot_ns());
		weir_count(WEIR_COUNT_FROM_PROXY);
		*action = WEIR_NEXT;
		return true;
	}
	if (mark == WEIR_MARK_TO_PROXY) {
		*action = weir_drop_packet(packet, 0, WEIR_DROP_UNROUTED_MARK, direction);
		return true;
	}
	return false;
}

/* An ICMP error about a flow to a service: the pod knows the service only. */
__noinline int weir_name_service_in_error(struct __sk_buff *skb, const struct weir_packet *packet,
					  __u64 now)
{
	struct weir_translation_key key = {};
	struct weir_translation *known;
	struct weir_packet quoted;
	struct weir_backend service;

	if (!packet || !weir_parse_quoted(skb, packet, &quoted))
		return 0;
	if (quoted.tuple.protocol != WEIR_PROTO_TCP && quoted.tuple.protocol != WEIR_PROTO_UDP)
		return 1;
	key.kind = WEIR_FROM_BACKEND;
	weir_reverse(&quoted.tuple, &key.tuple);
	known = weir_find_translation(&key, now);
	if (!known)
		return 1;
	service = known->other;
	return weir_rewrite_quoted(skb, packet, &quoted, &service);
}

/* The verdict of weir_to_pod on an IP packet. */
static __always_inline int weir_deliver(struct __sk_buff *skb, struct weir_packet *packet,
					const struct weir_endpoint *self, __u32 revision)
{
	struct weir_flow flow;

	weir_begin(&flow, packet, self, revision, WEIR_INGRESS);
	if (flow.flags & WEIR_ENDPOINT_HELD)
		return weir_drop_packet(packet, flow.endpoint, WEIR_DROP_NO_POLICY, WEIR_INGRESS);
	if (!(flow.flags & WEIR_ENFORCED)) {
		weir_count(WEIR_COUNT_UNTOUCHED);
		return WEIR_NEXT;
	}
	if (packet->reason) {
		if (flow.flags & WEIR_ENDPOINT_INGRESS_ENFORCED)
			return weir_drop_packet(packet, flow.endpoint, packet->reason,
						WEIR_INGRESS);
		weir_count(WEIR_COUNT_ALLOWED);
		return WEIR_NEXT;
	}
	if (packet->icmp_role == WEIR_ICMP_ERROR &&
	    weir_error_verdict(skb, packet, flow.endpoint, WEIR_EGRESS, revision) != WEIR_DENY) {
		weir_count(WEIR_COUNT_ALLOWED);
		return WEIR_NEXT;
	}

	weir_track(packet, &flow, false);
	if (flow.verdict == WEIR_REDIRECT && !flow.is_reply)
		weir_deny(&flow, WEIR_DROP_MISSED_REDIRECT, WEIR_INGRESS);
	if (flow.verdict == WEIR_DENY)
		return weir_drop_flow(packet, &flow);
	weir_count(WEIR_COUNT_ALLOWED);
	return WEIR_NEXT;
}

SEC("tcx/egress")
int weir_to_pod(struct __sk_buff *skb)
{
	struct weir_config config = weir_read_config();
	__u32 slot = weir_slot(config.revision);
	struct weir_backend wire = {}, service = {};
	struct weir_endpoint *self;
	struct weir_packet packet;
	__u64 now;
	__u8 reason;
	int action, answer;

	if (!weir_parse(skb, &packet, &reason))
		return reason ? weir_drop_packet(&packet, 0, reason, WEIR_INGRESS) : WEIR_NEXT;
	if (weir_came_past_us(skb->ingress_ifindex) && weir_is_held_birth(skb, &packet, slot))
		return weir_drop_packet(&packet, 0, WEIR_DROP_NO_PROGRAM, WEIR_EGRESS);
	if (weir_leaves_by_mark(skb, &packet, WEIR_INGRESS, &action))
		return action;
	if (weir_mark_of(skb->mark) == WEIR_MARK_TO_SENDER) {
		skb->mark = weir_with_mark(skb->mark, 0);
		return WEIR_NEXT;
	}
	if (packet.reason == WEIR_DROP_MALFORMED)
		return weir_drop_packet(&packet, 0, packet.reason, WEIR_INGRESS);
	if (weir_passes_as_neighbour(&packet, slot))
		return WEIR_NEXT;

	self = bpf_map_lookup_elem(&weir_endpoints, &packet.tuple.destination);
	/* Not an address of this pod: nobody can say which policy it falls under. */
	if (!self || self->ifindex != skb->ifindex)
		return weir_drop_packet(&packet, 0, WEIR_DROP_NO_POLICY, WEIR_INGRESS);
	now = bpf_ktime_get_boot_ns();
	wire.address = packet.tuple.source;
	wire.port_be = packet.tuple.source_port_be;
	answer = weir_find_answer(&packet, &service, now);
	action = weir_deliver(skb, &packet, self, config.revision);
	if (action != WEIR_NEXT)
		return action;
	if (answer == WEIR_ANSWER_OF_BACKEND &&
	    !weir_rewrite(skb, &packet, &wire, &service, WEIR_SIDE_SOURCE))
		return WEIR_SHOT;
	if (packet.icmp_role == WEIR_ICMP_ERROR && !packet.reason &&
	    !weir_name_service_in_error(skb, &packet, now))
		return WEIR_SHOT;
	return WEIR_NEXT;
}

/* Does a packet that comes up through a bridge come from a pod at one of its ports? */
static __always_inline bool weir_came_by_a_pods_port(struct __sk_buff *skb,
						     const struct weir_endpoint *pod)
{
	__u32 port = pod ? pod->ifindex : 0;
	__u32 *bridge = bpf_map_lookup_elem(&weir_bridges, &port);

	return bridge && *bridge == skb->ifindex;
}

static __always_inline int weir_enter(struct __sk_buff *skb, bool by_pods_ports)
{
	struct weir_config config = weir_read_config();
	__u32 slot = weir_slot(config.revision);
	struct weir_backend service = {};
	struct weir_endpoint *self;
	struct weir_packet packet;
	struct weir_flow flow;
	int answers, verdict;
	__u8 reason;

	/* Seen before, at a bridge's port: the frame may be another pod's by its address. */
	if (weir_mark_of(skb->mark) == WEIR_MARK_TO_PROXY) {
		bpf_skb_change_type(skb, WEIR_PACKET_HOST);
		return WEIR_NEXT;
	}
	if (!weir_parse(skb, &packet, &reason))
		return by_pods_ports && reason ? weir_drop_packet(&packet, 0, reason, WEIR_EGRESS)
					       : WEIR_NEXT;
	if (!packet.has_addresses)
		return by_pods_ports ? weir_drop_packet(&packet, 0, packet.reason, WEIR_EGRESS)
				     : WEIR_NEXT;
	/* A pod of this node whose interface nobody knows: this may be it. */
	self = bpf_map_lookup_elem(&weir_endpoints, &packet.tuple.source);
	if (weir_is_held(self, slot))
		return weir_drop_packet(&packet, self->id, WEIR_DROP_NO_POLICY, WEIR_EGRESS);
	/* Which port it came by is not to be seen any more, but at a port with its program nothing
	 * else would have passed. */
	if (by_pods_ports && !weir_passes_as_neighbour(&packet, slot) &&
	    weir_holds_at_bridge(weir_birth_flags(), self, weir_came_by_a_pods_port(skb, self)))
		return weir_drop_packet(&packet, 0, WEIR_DROP_NO_PROGRAM, WEIR_EGRESS);
	answers = weir_answers_proxy(skb, &packet, 0);
	if (answers == WEIR_ANSWERS_RESET)
		return weir_answered_late(skb, &packet);
	if (answers)
		return weir_answered(skb);
	self = bpf_map_lookup_elem(&weir_endpoints, &packet.tuple.destination);
	if (!self)
		return WEIR_NEXT;
	weir_begin(&flow, &packet, self, config.revision, WEIR_INGRESS);
	if (flow.flags & WEIR_ENDPOINT_HELD)
		return weir_drop_packet(&packet, flow.endpoint, WEIR_DROP_NO_POLICY, WEIR_INGRESS);
	if (!(flow.flags & WEIR_ENFORCED) || weir_passes_as_neighbour(&packet, slot))
		return WEIR_NEXT;
	if (packet.reason) {
		if (flow.flags & WEIR_ENDPOINT_INGRESS_ENFORCED)
			return weir_drop_packet(&packet, flow.endpoint, packet.reason,
						WEIR_INGRESS);
		return WEIR_NEXT;
	}
	/* weir_to_pod judges errors; here they only find their way to the proxy. */
	if (packet.icmp_role == WEIR_ICMP_ERROR) {
		if (weir_error_verdict(skb, &packet, flow.endpoint, WEIR_EGRESS, config.revision) ==
		    WEIR_REDIRECT)
			return weir_answered(skb);
		return WEIR_NEXT;
	}

	/* Answers to the pod's own flows are judged in weir_to_pod. Only the proxy answers a flow
	 * that was redirected, and it is not out there. */
	weir_find_answer(&packet, &service, flow.now);
	verdict = weir_answered_verdict(&packet, flow.endpoint);
	if (verdict == WEIR_REDIRECT)
		return weir_drop_packet(&packet, flow.endpoint, WEIR_DROP_MISSED_REDIRECT,
					WEIR_INGRESS);
	if (verdict == WEIR_ALLOW)
		return WEIR_NEXT;
	if (!(flow.flags & WEIR_ENDPOINT_INGRESS_ENFORCED))
		return WEIR_NEXT;

	weir_track(&packet, &flow, true);
	if (flow.verdict == WEIR_DENY)
		return weir_drop_flow(&packet, &flow);
	if (flow.verdict == WEIR_REDIRECT)
		return weir_redirect(skb, &packet, &flow, config.workers);
	return WEIR_NEXT;
}

SEC("tcx/ingress")
int weir_from_net(struct __sk_buff *skb)
{
	return weir_enter(skb, false);
}

SEC("tcx/ingress")
int weir_from_ports(struct __sk_buff *skb)
{
	return weir_enter(skb, true);
}

SEC("tcx/egress")
int weir_to_net(struct __sk_buff *skb)
{
	bool past_us = weir_came_past_us(skb->ingress_ifindex);
	struct weir_packet packet;
	__u8 reason;
	int action;

	/* Most of what leaves has no mark of ours: not worth parsing. */
	if (!weir_mark_of(skb->mark) && !past_us)
		return WEIR_NEXT;
	if (!weir_parse(skb, &packet, &reason))
		return past_us && reason &&
			       weir_is_birth(weir_netns_of(skb), skb->ingress_ifindex, false)
			   ? weir_drop_packet(&packet, 0, reason, WEIR_EGRESS)
			   : WEIR_NEXT;
	if (past_us && weir_is_held_birth(skb, &packet, weir_slot(weir_read_config().revision)))
		return weir_drop_packet(&packet, 0, WEIR_DROP_NO_PROGRAM, WEIR_EGRESS);
	if (weir_leaves_by_mark(skb, &packet, WEIR_EGRESS, &action))
		return action;
	return WEIR_NEXT;
}

/* The verifier wants each word of the context read by itself. */
static __always_inline void weir_copy_v6(struct weir_addr *to, const __u32 *from)
{
	for (int i = 0; i < 4; i++) {
		__u32 word = *(const volatile __u32 *)&from[i];

		__builtin_memcpy(to->bytes + 4 * i, &word, 4);
	}
}

/* Whom a socket is looked up for. */
static __always_inline void weir_read_asked(const struct bpf_sk_lookup *context,
					    struct weir_tuple *asked)
{
	__u32 source, destination;

	if (context->family == WEIR_FAMILY_IPV6) {
		weir_copy_v6(&asked->source, context->remote_ip6);
		weir_copy_v6(&asked->destination, context->local_ip6);
	} else {
		source = context->remote_ip4;
		destination = context->local_ip4;
		weir_map_v4(&asked->source, (const __u8 *)&source);
		weir_map_v4(&asked->destination, (const __u8 *)&destination);
	}
	asked->source_port_be = context->remote_port;
	asked->destination_port_be = bpf_htons((__u16)context->local_port);
	asked->protocol = context->protocol;
}

SEC("sk_lookup")
int weir_to_socket(struct bpf_sk_lookup *context)
{
	struct weir_judgement judgement = {0, WEIR_DENY, WEIR_DROP_NO_PROGRAM, 0, 1};
	struct weir_births *births = weir_read_births();
	struct weir_tuple asked = {};
	struct weir_endpoint *pod;

	if (!births || !weir_came_past_us(context->ingress_ifindex))
		return SK_PASS;
	weir_read_asked(context, &asked);
	pod = bpf_map_lookup_elem(&weir_endpoints, &asked.source);
	if (!weir_is_birth(births->netns, context->ingress_ifindex, pod != 0))
		return SK_PASS;
	weir_count_drop(WEIR_DROP_NO_PROGRAM, WEIR_EGRESS);
	weir_emit(&asked, 0, 0, WEIR_EGRESS, &judgement);
	return SK_DROP;
}

/* Run once by user space, on a packet of its own: nothing in weir_to_socket's context leads to the
 * namespace. */
SEC("tcx/ingress")
int weir_find_netns(struct __sk_buff *skb)
{
	struct weir_births *births = weir_read_births();

	if (births)
		births->netns = weir_netns_of(skb);
	return WEIR_NEXT;
}

SEC("sk_lookup")
int weir_reopen(struct bpf_sk_lookup *context)
{
	struct weir_tuple asked = {};
	struct bpf_sock *listener;
	__u32 *index;

	if (context->protocol != WEIR_PROTO_TCP)
		return SK_PASS;
	weir_read_asked(context, &asked);
	index = bpf_map_lookup_elem(&weir_reopened, &asked);
	if (!index)
		return SK_PASS;
	listener = bpf_map_lookup_elem(&weir_listeners, index);
	if (!listener)
		return SK_PASS;
	bpf_sk_assign(context, listener, 0);
	bpf_sk_release(listener);
	return SK_PASS;
}
