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

#include "redirect-bpf/bpf/actions.h"
#include "redirect-bpf/bpf/births.h"
#include "redirect-bpf/bpf/judge.h"
#include "redirect-bpf/bpf/services.h"
#include "redirect-bpf/bpf/to_proxy.h"
#include "redirect-bpf/bpf/translate.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define WEIR_PACKET_HOST 0  /* PACKET_HOST of linux/if_packet.h */
#define WEIR_FAMILY_IPV6 10 /* AF_INET6 */

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
	flow->now = weir_now();
	flow->revision = revision;
	flow->endpoint = self->id;
	flow->flags = self->flags[weir_slot(revision)];
	flow->policy_port_be = packet->policy_port_be;
	flow->direction = direction;
	flow->reason_direction = direction;
}

/* What weir_from_pod does with what weir_recall has found. */
static __always_inline int weir_go_on_known(struct __sk_buff *skb, const struct weir_packet *packet,
					    const struct weir_flow *flow, __u32 workers)
{
	if (flow->verdict == WEIR_REDIRECT)
		return weir_redirect(skb, packet, flow, workers);
	weir_count(WEIR_COUNT_ALLOWED);
	return WEIR_NEXT;
}

SEC("tc")
int weir_from_pod(struct __sk_buff *skb)
{
	struct weir_config config = weir_read_config();
	__u32 slot = weir_slot(config.revision);
	struct weir_endpoint *self;
	struct weir_packet packet;
	struct weir_choice choice;
	struct weir_flow flow;
	__u32 mark = weir_without_mark(skb->mark);
	int answers, verdict;
	bool from_client, guarded;
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
	from_client = weir_is_from_client(&packet.tuple);
	if (from_client && weir_recall(&packet, &flow, true))
		return weir_go_on_known(skb, &packet, &flow, config.workers);
	answers = weir_answers_proxy(skb, &packet, 1);
	if (answers == WEIR_ANSWERS_RESET)
		return weir_answered_late(skb, &packet);
	if (answers)
		return weir_answered(skb);
	if (!from_client && weir_recall(&packet, &flow, true))
		return weir_go_on_known(skb, &packet, &flow, config.workers);

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

	guarded =
	    weir_is_guarded(bpf_map_lookup_elem(&weir_endpoints, &packet.tuple.destination), slot);
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

	flow.plain = choice.no_service;
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
			weir_record_return(packet, weir_now());
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

/* The verdict of weir_to_pod on an IP packet. */
static __always_inline int weir_deliver(struct __sk_buff *skb, const struct weir_packet *packet,
					struct weir_flow *flow)
{
	if (!(flow->flags & WEIR_ENFORCED)) {
		weir_count(WEIR_COUNT_UNTOUCHED);
		return WEIR_NEXT;
	}
	if (packet->reason) {
		if (flow->flags & WEIR_ENDPOINT_INGRESS_ENFORCED)
			return weir_drop_packet(packet, flow->endpoint, packet->reason,
						WEIR_INGRESS);
		weir_count(WEIR_COUNT_ALLOWED);
		return WEIR_NEXT;
	}
	if (packet->icmp_role == WEIR_ICMP_ERROR &&
	    weir_error_verdict(skb, packet, flow->endpoint, WEIR_EGRESS, flow->revision) !=
		WEIR_DENY) {
		weir_count(WEIR_COUNT_ALLOWED);
		return WEIR_NEXT;
	}

	weir_track(packet, flow, false);
	if (flow->verdict == WEIR_REDIRECT && !flow->is_reply)
		weir_deny(flow, WEIR_DROP_MISSED_REDIRECT, WEIR_INGRESS);
	if (flow->verdict == WEIR_DENY)
		return weir_drop_flow(packet, flow);
	weir_count(WEIR_COUNT_ALLOWED);
	return WEIR_NEXT;
}

SEC("tc")
int weir_to_pod(struct __sk_buff *skb)
{
	struct weir_config config = weir_read_config();
	__u32 slot = weir_slot(config.revision);
	struct weir_backend wire = {}, service = {};
	struct weir_endpoint *self;
	struct weir_packet packet;
	struct weir_flow flow;
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
	weir_begin(&flow, &packet, self, config.revision, WEIR_INGRESS);
	if (flow.flags & WEIR_ENDPOINT_HELD)
		return weir_drop_packet(&packet, flow.endpoint, WEIR_DROP_NO_POLICY, WEIR_INGRESS);
	if (weir_recall(&packet, &flow, false)) {
		weir_count(WEIR_COUNT_ALLOWED);
		return WEIR_NEXT;
	}
	wire.address = packet.tuple.source;
	wire.port_be = packet.tuple.source_port_be;
	answer = weir_find_answer(&packet, &service, flow.now);
	flow.plain = answer == WEIR_ANSWER_PLAIN;
	action = weir_deliver(skb, &packet, &flow);
	if (action != WEIR_NEXT)
		return action;
	if (answer == WEIR_ANSWER_OF_BACKEND &&
	    !weir_rewrite(skb, &packet, &wire, &service, WEIR_SIDE_SOURCE))
		return WEIR_SHOT;
	if (packet.icmp_role == WEIR_ICMP_ERROR && !packet.reason &&
	    !weir_name_service_in_error(skb, &packet, flow.now))
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
	verdict = weir_recall(&packet, &flow, true);
	if (verdict == WEIR_REDIRECT)
		return weir_redirect(skb, &packet, &flow, config.workers);
	if (verdict == WEIR_ALLOW)
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
	flow.plain = weir_find_answer(&packet, &service, flow.now) == WEIR_ANSWER_PLAIN;
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

SEC("tc")
int weir_from_net(struct __sk_buff *skb)
{
	return weir_enter(skb, false);
}

SEC("tc")
int weir_from_ports(struct __sk_buff *skb)
{
	return weir_enter(skb, true);
}

SEC("tc")
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
		weir_map_v4(&asked->source, source);
		weir_map_v4(&asked->destination, destination);
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
SEC("tc")
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
