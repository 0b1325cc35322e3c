/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0)
 *
 * The way to the proxy: which of its sockets a packet of a redirected flow belongs to, and what
 * answers the proxy's own connections.
 */
#ifndef WEIR_TO_PROXY_H
#define WEIR_TO_PROXY_H

#include "redirect-bpf/bpf/actions.h"
#include "redirect-bpf/bpf/rewrite.h"

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
		index = weir_listener_index(kind, packet->is_v6, flow->turn % workers,
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
	__u64 now = weir_now();
	struct weir_packet quoted;
	struct weir_tuple answer;
	__u64 found;

	if (!packet || packet->reason)
		return WEIR_ANSWERS_NOBODY;
	if (packet->icmp_role != WEIR_ICMP_ERROR) {
		answer = packet->tuple;
		found = weir_find_return(&answer, now);
		if (!found)
			return WEIR_ANSWERS_NOBODY;
		return found & WEIR_RETURN_RESET ? WEIR_ANSWERS_RESET : WEIR_ANSWERS_PROXY;
	}
	if (!weir_parse_quoted(skb, packet, &quoted))
		return WEIR_ANSWERS_NOBODY;
	if (from_pod && !weir_same_address(&quoted.tuple.destination, &packet->tuple.source))
		return WEIR_ANSWERS_NOBODY;
	weir_reverse(&quoted.tuple, &answer);
	return weir_find_return(&answer, now) ? WEIR_ANSWERS_PROXY : WEIR_ANSWERS_NOBODY;
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

#endif
