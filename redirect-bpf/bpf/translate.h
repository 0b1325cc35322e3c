/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0)
 *
 * What becomes of packets to services and from their backends, once services.h has said which.
 */
#ifndef WEIR_TRANSLATE_H
#define WEIR_TRANSLATE_H

#include "redirect-bpf/bpf/actions.h"
#include "redirect-bpf/bpf/rewrite.h"
#include "redirect-bpf/bpf/services.h"

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

#endif
