/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0)
 *
 * What is decided, without the packets and maps it is decided about: values in, values out.
 * Compiled as C for BPF and as C++ for the tests, so that both run the same lines. Knows no
 * context, helper or map.
 */
#ifndef WEIR_DECIDE_H
#define WEIR_DECIDE_H

#include "redirect-bpf/abi/weir_abi.h"

#ifndef __cplusplus
#include <stdbool.h>
#endif

/* Inlined always in BPF: a call would cost stack, of which all frames together have 512 bytes. */
#ifdef __bpf__
#define WEIR_PURE static inline __attribute__((always_inline))
#else
#define WEIR_PURE static inline
#endif

#define WEIR_SECOND_NS 1000000000ull

/* Protocols and types by number: the headers that name them differ between kernel and C library. */
enum {
	WEIR_PROTO_ICMP = 1,
	WEIR_PROTO_TCP = 6,
	WEIR_PROTO_UDP = 17,
	WEIR_PROTO_ICMPV6 = 58,
	WEIR_PROTO_SCTP = 132,
};

/* --- addresses and tuples */

WEIR_PURE __u32 weir_word(const struct weir_addr *address, __u32 index)
{
	__u32 word;

	__builtin_memcpy(&word, address->bytes + 4 * index, sizeof(word));
	return word;
}

WEIR_PURE bool weir_is_v4(const struct weir_addr *address)
{
	return !weir_word(address, 0) && !weir_word(address, 1) && !address->bytes[8] &&
	       !address->bytes[9] && address->bytes[10] == 0xff && address->bytes[11] == 0xff;
}

WEIR_PURE bool weir_same_address(const struct weir_addr *a, const struct weir_addr *b)
{
	for (__u32 i = 0; i < 4; i++)
		if (weir_word(a, i) != weir_word(b, i))
			return false;
	return true;
}

/* fe80::/10, or multicast of the link's scope (ff02::/16): no router forwards it. */
WEIR_PURE bool weir_is_link_scope(const struct weir_addr *address)
{
	return (address->bytes[0] == 0xfe && (address->bytes[1] & 0xc0) == 0x80) ||
	       (address->bytes[0] == 0xff && (address->bytes[1] & 0x0f) == 0x02);
}

/* 127.0.0.0/8 and ::1. With route_localnet, which kube-proxy sets, the node would take these from
 * anybody. */
WEIR_PURE bool weir_is_loopback(const struct weir_addr *address)
{
	if (weir_is_v4(address))
		return address->bytes[12] == 127;
	for (int i = 0; i < 15; i++)
		if (address->bytes[i])
			return false;
	return address->bytes[15] == 1;
}

/* Through a pointer, because a returned struct of this size cannot pass between BPF functions. */
WEIR_PURE void weir_reverse(const struct weir_tuple *tuple, struct weir_tuple *reversed)
{
	reversed->source = tuple->destination;
	reversed->destination = tuple->source;
	reversed->source_port_be = tuple->destination_port_be;
	reversed->destination_port_be = tuple->source_port_be;
	reversed->protocol = tuple->protocol;
	reversed->pad[0] = 0;
	reversed->pad[1] = 0;
	reversed->pad[2] = 0;
}

/* --- ICMP */

enum weir_icmp_role {
	WEIR_ICMP_OTHER = 0,   /* judged by type, packet by packet */
	WEIR_ICMP_REQUEST = 1, /* opens a flow */
	WEIR_ICMP_REPLY = 2, /* belongs to a request's flow and opens none: else an echo reply that
			      * policy allows would open the way for requests it does not */
	WEIR_ICMP_ERROR = 3, /* belongs to the flow that it quotes */
};

WEIR_PURE __u8 weir_icmp_role(bool is_v6, __u8 type)
{
	if (is_v6) {
		if (type == 128)
			return WEIR_ICMP_REQUEST;
		if (type == 129)
			return WEIR_ICMP_REPLY;
		return type >= 1 && type <= 4 ? WEIR_ICMP_ERROR : WEIR_ICMP_OTHER;
	}
	if (type == 8)
		return WEIR_ICMP_REQUEST;
	if (type == 0)
		return WEIR_ICMP_REPLY;
	/* Unreachable, time exceeded, parameter problem. A redirect (5) changes the pod's routes
	 * and a source quench (4) is obsolete (RFC 6633): policy decides by type. */
	return type == 3 || type == 11 || type == 12 ? WEIR_ICMP_ERROR : WEIR_ICMP_OTHER;
}

/* ICMPv6 that a link cannot live without: neighbour discovery (133-137) and multicast listener
 * discovery (130-132, 143). Only where it cannot leave the link; otherwise a pod could send
 * anything anywhere as a neighbour solicitation. Solicitations and advertisements to a global
 * address of a neighbour (hop limit 255, RFC 4861 §7.1) count when the caller knows the neighbour
 * to be this node or one of its pods. */
WEIR_PURE bool weir_is_neighbour_message(__u8 type, __u8 hop_limit,
					 const struct weir_addr *destination,
					 bool destination_is_here)
{
	bool known = (type >= 130 && type <= 137) || type == 143;

	if (known && weir_is_link_scope(destination))
		return true;
	return (type == 135 || type == 136) && hop_limit == 255 && destination_is_here;
}

/* --- identities */

/* Whoever stands in no row of weir_identities. */
WEIR_PURE __u32 weir_unknown_identity(const struct weir_addr *address)
{
	return weir_is_v4(address) ? WEIR_IDENTITY_WORLD_IPV4 : WEIR_IDENTITY_WORLD_IPV6;
}

/* Names open addresses outside the cluster only: a DNS answer that points to a pod or a node must
 * not open it. */
WEIR_PURE bool weir_is_learnable(__u32 identity)
{
	return identity == WEIR_IDENTITY_WORLD || identity == WEIR_IDENTITY_WORLD_IPV4 ||
	       identity == WEIR_IDENTITY_WORLD_IPV6 || identity >= WEIR_IDENTITY_FIRST_PREFIX;
}

/* --- policy rows */

struct weir_judgement {
	__u32 rule;
	__u8 verdict; /* enum weir_verdict */
	__u8 reason;  /* enum weir_drop, of a deny */
	__u8 learned; /* 1: decided by an address learned from DNS */
	__u8 judged;  /* 0: the direction is not enforced, nobody was asked */
};

WEIR_PURE struct weir_judgement weir_not_enforced(void)
{
	struct weir_judgement judgement = {0, WEIR_ALLOW, WEIR_DROP_NONE, 0, 0};
	return judgement;
}

WEIR_PURE struct weir_judgement weir_no_policy(void)
{
	struct weir_judgement judgement = {0, WEIR_DENY, WEIR_DROP_NO_POLICY, 0, 1};
	return judgement;
}

/* Deny beats redirect beats allow beats silence. */
WEIR_PURE int weir_rank(__u8 verdict)
{
	return verdict == WEIR_DENY	  ? 3
	       : verdict == WEIR_REDIRECT ? 2
	       : verdict == WEIR_ALLOW	  ? 1
					  : 3;
}

/* Joins the up to three rows of a packet; those not found are null. `groups` are the FQDN groups
 * of the peer's address as far as they count, `expired` says that there were some once. */
WEIR_PURE struct weir_judgement weir_judge_rows(const struct weir_policy_entry *peer,
						const struct weir_policy_entry *any,
						const struct weir_policy_entry *learned,
						__u64 groups, bool expired, __u32 identity)
{
	struct weir_judgement judgement = {0, WEIR_DENY, WEIR_DROP_POLICY, 0, 1};
	int rank = 0;

	if (peer) {
		rank = weir_rank(peer->verdict);
		judgement.verdict = peer->verdict;
		judgement.rule = peer->rule;
	}
	/* The node itself is never redirected by a rule for everybody: its packets do not pass the
	 * hook where that could be done, and a plain allow makes an L7 rule moot anyway. */
	if (any && weir_rank(any->verdict) > rank &&
	    !(identity == WEIR_IDENTITY_HOST && rank == 1 && any->verdict == WEIR_REDIRECT)) {
		rank = weir_rank(any->verdict);
		judgement.verdict = any->verdict;
		judgement.rule = any->rule;
	}
	if (learned && groups) {
		__u8 verdict = WEIR_DENY;
		bool said = true;

		if (learned->fqdn_deny & groups)
			verdict = WEIR_DENY;
		else if (learned->fqdn_redirect & groups)
			verdict = WEIR_REDIRECT;
		else if (learned->fqdn_allow & groups)
			verdict = WEIR_ALLOW;
		else
			said = false;
		if (said && weir_rank(verdict) > rank) {
			rank = weir_rank(verdict);
			judgement.verdict = verdict;
			judgement.rule = learned->rule;
			judgement.learned = 1;
		}
	}
	if (rank == 0)
		judgement.reason = expired ? WEIR_DROP_FQDN_EXPIRED : WEIR_DROP_POLICY;
	else if (rank == 3) {
		judgement.verdict = WEIR_DENY; /* also where a row holds a verdict unknown here */
		judgement.reason = judgement.rule ? WEIR_DROP_POLICY_DENY : WEIR_DROP_POLICY;
	} else
		judgement.reason = WEIR_DROP_NONE;
	return judgement;
}

/* All policies together refuse, by `rule`; `enforced` is what is said by those that are not only
 * audited. What the audited ones alone refuse passes, and remains told by their rule. */
WEIR_PURE void weir_soften(struct weir_judgement *enforced, __u32 rule)
{
	if (enforced->verdict != WEIR_DENY) {
		enforced->rule = rule;
		enforced->reason = WEIR_DROP_AUDIT;
	}
}

/* Two policies judge a flow between pods of this node: the stricter answer holds. */
WEIR_PURE bool weir_second_is_stricter(__u8 first, __u8 second)
{
	return weir_rank(second) > weir_rank(first);
}

/* --- flows */

/* A flow that was quiet for longer is a new one. Idle TCP has as long as Cilium gives it. */
WEIR_PURE __u64 weir_flow_lifetime_ns(__u8 protocol, __u8 flags)
{
	if (protocol == WEIR_PROTO_TCP || protocol == WEIR_PROTO_SCTP) {
		if (flags & WEIR_CT_CLOSING)
			return 120 * WEIR_SECOND_NS;
		return (flags & WEIR_CT_REPLIED) ? 21600 * WEIR_SECOND_NS : 120 * WEIR_SECOND_NS;
	}
	return 60 * WEIR_SECOND_NS;
}

WEIR_PURE bool weir_is_stale(__u64 now, __u64 then, __u64 lifetime)
{
	/* Another CPU may have written a later time than this packet's `now`. */
	return now > then && now - then > lifetime;
}

/* Times in maps are renewed about once a second, so that busy flows do not bounce cache lines. */
WEIR_PURE bool weir_needs_touch(__u64 now, __u64 then)
{
	return weir_is_stale(now, then, WEIR_SECOND_NS);
}

/* An answer to the proxy is looked for as long as its connection may be idle. */
WEIR_PURE bool weir_return_alive(__u64 now, __u64 then, __u8 protocol)
{
	return !weir_is_stale(now, then, weir_flow_lifetime_ns(protocol, WEIR_CT_REPLIED));
}

/* What stands in weir_returns: a time, and whether the proxy has reset the connection. */
WEIR_PURE __u64 weir_return_value(__u64 now, bool reset)
{
	return (now & ~WEIR_RETURN_RESET) | (reset ? WEIR_RETURN_RESET : 0);
}

/* TCP flags as they stand in byte 13 of the header. */
#define WEIR_TCP_FIN 0x01
#define WEIR_TCP_SYN 0x02
#define WEIR_TCP_RST 0x04
#define WEIR_TCP_ACK 0x10

/* Opens a connection, so whatever was decided about its tuple before does not count. */
WEIR_PURE bool weir_is_open(__u8 protocol, __u8 tcp_flags)
{
	return protocol == WEIR_PROTO_TCP &&
	       (tcp_flags & (WEIR_TCP_SYN | WEIR_TCP_ACK | WEIR_TCP_RST)) == WEIR_TCP_SYN;
}

WEIR_PURE bool weir_is_close(__u8 protocol, __u8 tcp_flags)
{
	return protocol == WEIR_PROTO_TCP && (tcp_flags & (WEIR_TCP_FIN | WEIR_TCP_RST));
}

WEIR_PURE bool weir_is_reset(__u8 protocol, __u8 tcp_flags)
{
	return protocol == WEIR_PROTO_TCP && (tcp_flags & WEIR_TCP_RST);
}

/* May the packet of a flow go by its entry's verdict alone? Where it can be handed to the proxy
 * (`may_redirect`) a redirected flow's own packets may, and where it is delivered what the proxy
 * answers. */
WEIR_PURE bool weir_is_recalled(__u8 verdict, __u8 flags, bool answer, bool may_redirect)
{
	if (!(flags & WEIR_CT_PLAIN))
		return false;
	return verdict == WEIR_ALLOW || (verdict == WEIR_REDIRECT && answer != may_redirect);
}

/* Who speaks to a socket that is gone is told so (RFC 9293 §3.10.7.1): resets answer nothing, and
 * without ACK nobody has known that there was one. */
WEIR_PURE bool weir_is_answered_with_reset(__u8 protocol, __u8 tcp_flags)
{
	return protocol == WEIR_PROTO_TCP &&
	       (tcp_flags & (WEIR_TCP_ACK | WEIR_TCP_RST)) == WEIR_TCP_ACK;
}

/* A flow known as `before` is decided again as `after`. A TCP connection that the proxy has ended
 * stays with the proxy, also where policy would now let it pass by: the server knows nothing of
 * it. (The other way round cannot be mended: the proxy's listener answers with RST.) */
WEIR_PURE __u8 weir_keep_verdict(__u8 before, __u8 after, __u8 protocol)
{
	if (protocol == WEIR_PROTO_TCP && before == WEIR_REDIRECT && after == WEIR_ALLOW)
		return before;
	return after;
}

/* --- redirect */

enum weir_redirect_step {
	WEIR_STEP_REFUSE = 0,  /* no protocol of the proxy's */
	WEIR_STEP_MARK = 1,    /* the proxy's socket will be found by the kernel */
	WEIR_STEP_LOOK_UP = 2, /* mark if a socket of the flow is there, else assign */
	WEIR_STEP_ASSIGN = 3,  /* give it to a listener */
};

/* A SYN always looks: one that meets a TIME_WAIT socket must not get the listener (it would hang).
 * Any other TCP packet looks until the proxy's socket was seen once: the ACK that ends a handshake
 * by SYN cookie has none yet and belongs to the listener, and so does what is left of flows whose
 * proxy is gone: the listener makes the kernel answer RST, where passing on would be a leak. Once
 * either end has said its last, the socket may go at any time, and each packet looks again. */
WEIR_PURE __u8 weir_redirect_step(__u8 protocol, bool opens, __u8 flags)
{
	if (protocol == WEIR_PROTO_UDP)
		return WEIR_STEP_ASSIGN;
	if (protocol != WEIR_PROTO_TCP)
		return WEIR_STEP_REFUSE;
	return !opens && (flags & (WEIR_CT_SETTLED | WEIR_CT_CLOSING)) == WEIR_CT_SETTLED
		   ? WEIR_STEP_MARK
		   : WEIR_STEP_LOOK_UP;
}

/* --- services */

enum weir_service_step {
	WEIR_SERVICE_KEEP = 0,	 /* the backend that the flow has */
	WEIR_SERVICE_CHOOSE = 1, /* a backend of the present set */
	WEIR_SERVICE_REFUSE = 2, /* there is none */
	WEIR_SERVICE_LEAVE = 3,	 /* not translated */
};

/* What becomes of a packet to a service's address. `known`: its flow has a backend, chosen from
 * the present set (`same_set`) or still in it (`member`). A running TCP connection stays where it
 * is even when its backend or service is gone; the end is the server's to say. A datagram's flow
 * moves on. A packet in the middle of a connection that nobody knows is not ours: it is older than
 * weir, or forgotten. */
WEIR_PURE __u8 weir_service_step(__u8 protocol, bool opens, bool known, bool is_service,
				 bool same_set, bool member, __u32 backends)
{
	if (protocol == WEIR_PROTO_TCP && !opens)
		return known ? WEIR_SERVICE_KEEP : WEIR_SERVICE_LEAVE;
	if (!is_service)
		return WEIR_SERVICE_LEAVE;
	/* A SYN that is sent again must find the backend of the first. */
	if (known && (same_set || member))
		return WEIR_SERVICE_KEEP;
	return backends ? WEIR_SERVICE_CHOOSE : WEIR_SERVICE_REFUSE;
}

/* --- interfaces without programs */

enum weir_interface_kind {
	WEIR_INTERFACE_UNTOLD = 0, /* the kernel does not let us see */
	WEIR_INTERFACE_GONE = 1,   /* none of this namespace (any more) */
	WEIR_INTERFACE_VETH = 2,
	WEIR_INTERFACE_OTHER = 3,
};

/* A packet is about to leave that came in by an interface without weir's programs. `is_other`: its
 * name is one of those that are no pods'. `from_pod`: its name, or the packet's source, is that of
 * a pod of this node (where the source is translated, tc egress sees the new one). Such an
 * interface has just appeared, or has while no weir was there. Uplinks, tunnels and VLANs appear
 * that way too, and what they bring is not held: they are no veths.
 *
 * One that is not there: VLANs and macvlans which were moved into a pod leave the number of the
 * pod's own interface in what the pod forwards (reasoned). */
WEIR_PURE bool weir_holds_birth(__u8 kind, __u32 flags, bool is_other, bool from_pod)
{
	if (!(flags & WEIR_BIRTHS_HELD) || kind == WEIR_INTERFACE_GONE)
		return false;
	if (from_pod)
		return true;
	return (flags & WEIR_BIRTHS_VETHS) && kind == WEIR_INTERFACE_VETH && !is_other;
}

/* A packet comes up through a bridge of which all ports are pods'. `port_known`: its source is the
 * address of a pod whose port of that bridge is known, `from_pod`: of any pod of this node. All
 * else would not have passed the programs at a port. */
WEIR_PURE bool weir_holds_at_bridge(__u32 flags, bool from_pod, bool port_known)
{
	if (!(flags & WEIR_BIRTHS_HELD) || port_known)
		return false;
	return from_pod || (flags & WEIR_BIRTHS_VETHS);
}

/* --- marks */

WEIR_PURE __u32 weir_mark_of(__u32 mark)
{
	return mark & WEIR_MARK_MASK;
}

WEIR_PURE __u32 weir_with_mark(__u32 mark, __u32 ours)
{
	return (mark & ~WEIR_MARK_MASK) | ours;
}

/* A pod has no business setting them; the bits of others stay. */
WEIR_PURE __u32 weir_without_mark(__u32 mark)
{
	__u32 ours = weir_mark_of(mark);

	return ours == WEIR_MARK_TO_PROXY || ours == WEIR_MARK_FROM_PROXY ||
		       ours == WEIR_MARK_TO_SENDER
		   ? mark & ~WEIR_MARK_MASK
		   : mark;
}

/* --- joined sockets
 *
 * A message that goes by the short way is put at the end of a queue of its own at the reader, and
 * the kernel reads that queue before it reads what came by TCP. So:
 *
 *   order    it may go that way only when the reader has read every byte that the writer ever gave
 *            to TCP. Both count the same sequence numbers: read == written. What goes by TCP after
 *            it is read after it, as its queue comes first.
 *   bound    and only as long as no more than max_bytes in max_messages then wait in the queue, and
 *            no more than half of what the reader's buffer holds: both ways share that, and TCP
 * must never find it full of what did not come by its window. TCP has its own bounds for the rest,
 * and what it holds must be read first (order).
 *
 * Nothing else is remembered about a direction: both are looked up for each message. */
struct weir_join_view {
	__u32 written;	/* sequence number after the last byte that the writer gave to TCP */
	__u32 read;	/* the same of the last byte that the reader took from TCP */
	__u32 queued;	/* bytes that wait at the reader */
	__u32 buffer;	/* its buffer's size */
	__u32 messages; /* that went the short way since the queue was last seen empty */
	__u32 size;
};

WEIR_PURE __u8 weir_join_step(const struct weir_join_view *view, __u32 max_bytes,
			      __u32 max_messages)
{
	__u32 half = view->buffer / 2;

	if (view->read != view->written)
		return WEIR_JOIN_UNREAD;
	if (max_bytes > half)
		max_bytes = half;
	if (view->queued > max_bytes || view->size > max_bytes - view->queued)
		return WEIR_JOIN_FULL;
	if (view->queued && view->messages >= max_messages)
		return WEIR_JOIN_FULL;
	return WEIR_JOIN_SOCKETS; /* no reason against it */
}

/* Joining two ends costs more than the few messages of one request gain. Nobody knows beforehand
 * how long a connection will be used, so the ones before it tell: where so many ended with fewer
 * messages than pay for it, others are left to TCP, but for one in WEIR_JOIN_SAMPLE, by which a
 * change is noticed. A single one that was used takes that back. */
enum {
	WEIR_JOIN_PAYS = 4,    /* messages of either end; weir_join_state.used counts no further */
	WEIR_JOIN_BRIEFS = 16, /* connections, one after the other */
	WEIR_JOIN_SAMPLE = 32,
};

WEIR_PURE bool weir_join_worth(__u32 briefs, __u32 random)
{
	return briefs < WEIR_JOIN_BRIEFS || random % WEIR_JOIN_SAMPLE == 0;
}

/* What weir_join_habits says after one more end is gone. Of a connection that was hardly used the
 * one that opened it counts, of one that was used either. */
WEIR_PURE __u32 weir_join_briefs(__u32 briefs, bool opened, __u8 used)
{
	if (used >= WEIR_JOIN_PAYS)
		return 0;
	return opened && briefs < WEIR_JOIN_BRIEFS ? briefs + 1 : briefs;
}

#endif
