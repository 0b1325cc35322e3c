/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0)
 *
 * Services: which backend a flow has, and what it is called on the way back. Looks up and writes
 * down; changes no packet (rewrite.h does) and decides nothing about policy.
 *
 *   pod:1234 → service:80        as the pod sends it          TO_BACKEND   → backend:8080
 *   backend:8080 → pod:1234      as the answer arrives        FROM_BACKEND → service:80
 *   pod:8080 → service:1234      as the pod answers itself    FROM_SELF    → service:80
 *
 * A pod that is its own backend must not see its own address as its client's: its kernel would
 * drop that. It sees the service's address instead.
 */
#ifndef WEIR_SERVICES_H
#define WEIR_SERVICES_H

#include "redirect-bpf/bpf/conntrack.h"

/* A pod may have a flow to a backend from the same port already, by another service or none; two
 * such flows could not be told apart. */
#define WEIR_BACKEND_TRIES 4

enum {
	WEIR_SERVICE_ANSWER_SELF = 4, /* besides enum weir_service_step */
	WEIR_SERVICE_PORT_IN_USE = 5,
};

struct weir_choice {
	__u64 now;
	struct weir_service service; /* all zero: gone */
	struct weir_backend backend; /* ANSWER_SELF: the service as the pod knows it */
	__u32 endpoint;
	__u8 step;
	__u8 no_service; /* what is asked for is no address of one */
	__u8 pad[6];
};

static __always_inline bool weir_is_translated(const struct weir_packet *packet)
{
	return packet->asked.port_be != packet->tuple.destination_port_be ||
	       !weir_same_address(&packet->asked.address, &packet->tuple.destination);
}

static __always_inline bool weir_same_backend(const struct weir_backend *a,
					      const struct weir_backend *b)
{
	return a->port_be == b->port_be && weir_same_address(&a->address, &b->address);
}

static __always_inline struct weir_translation *
weir_find_translation(const struct weir_translation_key *key, __u64 now)
{
	struct weir_translation *found = bpf_map_lookup_elem(&weir_translations, key);

	if (!found || weir_is_stale(now, found->last_seen_ns,
				    weir_flow_lifetime_ns(key->tuple.protocol,
							  found->flags | WEIR_CT_REPLIED)))
		return 0;
	return found;
}

static __always_inline void weir_answer_key(struct weir_translation_key *key,
					    const struct weir_packet *packet,
					    const struct weir_backend *backend)
{
	__builtin_memset(key, 0, sizeof(*key));
	key->kind = WEIR_FROM_BACKEND;
	key->tuple.source = backend->address;
	key->tuple.source_port_be = backend->port_be;
	key->tuple.destination = packet->tuple.source;
	key->tuple.destination_port_be = packet->tuple.source_port_be;
	key->tuple.protocol = packet->tuple.protocol;
}

/* Is there a running flow from that port to that backend, other than the service's own? */
__noinline int weir_port_in_use(const struct weir_packet *packet,
				const struct weir_backend *backend, __u32 endpoint, __u64 now)
{
	struct weir_translation_key key;
	struct weir_translation *found;
	struct weir_ct_entry *flow;
	struct weir_ct_key flow_key;

	if (!packet || !backend)
		return 1;
	weir_answer_key(&key, packet, backend);
	found = weir_find_translation(&key, now);
	if (found)
		return !(found->flags & WEIR_CT_CLOSING) &&
		       !weir_same_backend(&found->other, &packet->asked);
	weir_reverse(&key.tuple, &flow_key.tuple);
	flow_key.endpoint = endpoint;
	flow_key.direction = WEIR_EGRESS;
	__builtin_memset(flow_key.pad, 0, sizeof(flow_key.pad));
	flow = weir_find_flow(&flow_key, now);
	return flow && !(flow->flags & WEIR_CT_CLOSING);
}

/* The same from the other side: would a flow of the pod's own, to no service, be taken for one to a
 * service? The rest of a connection that is ending gives way to it. */
__noinline int weir_takes_service_port(const struct weir_tuple *tuple, __u64 now)
{
	struct weir_translation_key key = {};
	struct weir_translation *found;

	if (!tuple || (tuple->protocol != WEIR_PROTO_TCP && tuple->protocol != WEIR_PROTO_UDP))
		return 0;
	key.kind = WEIR_FROM_BACKEND;
	weir_reverse(tuple, &key.tuple);
	found = weir_find_translation(&key, now);
	if (!found)
		return 0;
	if (!(found->flags & WEIR_CT_CLOSING))
		return 1;
	bpf_map_delete_elem(&weir_translations, &key);
	return 0;
}

static __always_inline bool weir_is_member(__u32 set, const struct weir_backend *backend)
{
	struct weir_member_key key = {.set = set, .backend = *backend};

	return bpf_map_lookup_elem(&weir_members, &key);
}

/* The backend of the client's last flow, where that counts. */
static __always_inline bool weir_recall_backend(const struct weir_packet *packet,
						struct weir_choice *choice)
{
	struct weir_affinity_key key = {.service = choice->service.id,
					.client = packet->tuple.source};
	struct weir_affinity_entry *entry;

	if (!choice->service.affinity_seconds)
		return false;
	entry = bpf_map_lookup_elem(&weir_affinity, &key);
	if (!entry || weir_is_stale(choice->now, entry->last_seen_ns,
				    choice->service.affinity_seconds * WEIR_SECOND_NS))
		return false;
	choice->backend = entry->backend;
	return weir_is_member(choice->service.set, &choice->backend);
}

__noinline int weir_choose_backend(const struct weir_packet *packet, struct weir_choice *choice)
{
	struct weir_backend_key key = {};
	struct weir_backend *backend;

	if (!packet || !choice)
		return 0;
	if (weir_recall_backend(packet, choice) &&
	    !weir_port_in_use(packet, &choice->backend, choice->endpoint, choice->now))
		return 0;
	key.set = choice->service.set;
	for (int i = 0; i < WEIR_BACKEND_TRIES; i++) {
		if (!choice->service.backends)
			break;
		key.index = bpf_get_prandom_u32() % choice->service.backends;
		backend = bpf_map_lookup_elem(&weir_backends, &key);
		if (!backend)
			continue; /* the set was replaced just now */
		choice->backend = *backend;
		if (!weir_port_in_use(packet, &choice->backend, choice->endpoint, choice->now))
			return 0;
	}
	choice->step = WEIR_SERVICE_PORT_IN_USE;
	return 0;
}

/* What a pod's packet to a service has to become. `choice` comes in with now and endpoint. */
__noinline int weir_find_backend(const struct weir_packet *packet, struct weir_choice *choice)
{
	struct weir_translation_key key = {};
	struct weir_service_key service_key = {};
	struct weir_translation *known, *back;
	struct weir_service *service = 0;
	bool opens, same_set = false, member = false;

	if (!packet || !choice)
		return 0;
	choice->step = WEIR_SERVICE_LEAVE;
	if (packet->reason ||
	    (packet->tuple.protocol != WEIR_PROTO_TCP && packet->tuple.protocol != WEIR_PROTO_UDP))
		return 0;
	service_key.address = packet->asked.address;
	if (!bpf_map_lookup_elem(&weir_services, &service_key)) {
		choice->no_service = 1;
		return 0;
	}
	key.tuple = packet->tuple;
	known = weir_find_translation(&key, choice->now);
	opens = weir_is_open(packet->tuple.protocol, packet->tcp_flags);
	/* A running connection stays where it is, whatever became of the service. */
	if (!known || opens || packet->tuple.protocol != WEIR_PROTO_TCP) {
		service_key.port_be = packet->asked.port_be;
		service_key.protocol = packet->tuple.protocol;
		service = bpf_map_lookup_elem(&weir_services, &service_key);
	}
	if (service)
		choice->service = *service;
	if (known && service) {
		same_set = known->set == service->set;
		member = same_set || weir_is_member(service->set, &known->other);
	}
	choice->step = weir_service_step(packet->tuple.protocol, opens, known, service, same_set,
					 member, choice->service.backends);
	if (choice->step == WEIR_SERVICE_KEEP && known) {
		choice->backend = known->other;
		if (member && !same_set)
			known->set = choice->service.set;
		if (weir_is_close(packet->tuple.protocol, packet->tcp_flags))
			known->flags |= WEIR_CT_CLOSING;
		else if (opens)
			known->flags &= ~WEIR_CT_CLOSING;
		if (weir_needs_touch(choice->now, known->last_seen_ns)) {
			known->last_seen_ns = choice->now;
			weir_answer_key(&key, packet, &choice->backend);
			back = bpf_map_lookup_elem(&weir_translations, &key);
			if (back)
				back->last_seen_ns = choice->now;
		}
		return 0;
	}
	if (choice->step == WEIR_SERVICE_CHOOSE)
		return weir_choose_backend(packet, choice);
	if (choice->step == WEIR_SERVICE_LEAVE) {
		key.kind = WEIR_FROM_SELF;
		known = weir_find_translation(&key, choice->now);
		if (known) {
			choice->step = WEIR_SERVICE_ANSWER_SELF;
			choice->backend = known->other;
			if (weir_needs_touch(choice->now, known->last_seen_ns))
				known->last_seen_ns = choice->now;
		}
	}
	return 0;
}

/* Writes down what weir_find_backend() has chosen, once the flow may be. False: no room. */
__noinline int weir_keep_backend(const struct weir_packet *packet, const struct weir_choice *choice)
{
	struct weir_translation_key key = {};
	struct weir_translation entry = {};

	if (!packet || !choice)
		return 0;
	key.kind = WEIR_TO_BACKEND;
	key.tuple = packet->tuple;
	key.tuple.destination = packet->asked.address;
	key.tuple.destination_port_be = packet->asked.port_be;
	entry.last_seen_ns = choice->now;
	entry.other = choice->backend;
	entry.set = choice->service.set;
	entry.service = choice->service.id;
	if (bpf_map_update_elem(&weir_translations, &key, &entry, BPF_ANY))
		return 0;
	if (weir_same_address(&choice->backend.address, &packet->tuple.source)) {
		key.kind = WEIR_FROM_SELF;
		key.tuple.source_port_be = choice->backend.port_be;
		key.tuple.destination_port_be = packet->tuple.source_port_be;
	} else {
		weir_answer_key(&key, packet, &choice->backend);
	}
	entry.other = packet->asked;
	if (bpf_map_update_elem(&weir_translations, &key, &entry, BPF_ANY))
		return 0;
	if (choice->service.affinity_seconds) {
		struct weir_affinity_key client = {.service = choice->service.id,
						   .client = packet->tuple.source};
		struct weir_affinity_entry last = {.last_seen_ns = choice->now,
						   .backend = choice->backend};

		bpf_map_update_elem(&weir_affinity, &client, &last, BPF_ANY);
	}
	return 1;
}

enum weir_answer {
	WEIR_ANSWER_PLAIN = 0,
	WEIR_ANSWER_OF_PROXY = 1,   /* comes from the service already; the tuple is the backend's */
	WEIR_ANSWER_OF_BACKEND = 2, /* is to come from `service` */
};

/* Is a packet to a pod the answer to its flow to a service? */
__noinline int weir_find_answer(struct weir_packet *packet, struct weir_backend *service, __u64 now)
{
	struct weir_service_key service_key = {};
	struct weir_translation_key key = {};
	struct weir_translation *known;

	if (!packet || !service || packet->reason)
		return WEIR_ANSWER_PLAIN;
	if (packet->tuple.protocol != WEIR_PROTO_TCP && packet->tuple.protocol != WEIR_PROTO_UDP)
		return WEIR_ANSWER_PLAIN;
	service_key.address = packet->tuple.source;
	if (bpf_map_lookup_elem(&weir_services, &service_key)) {
		weir_reverse(&packet->tuple, &key.tuple);
		known = weir_find_translation(&key, now);
		if (!known)
			return WEIR_ANSWER_PLAIN;
		packet->tuple.source = known->other.address;
		packet->tuple.source_port_be = known->other.port_be;
		return WEIR_ANSWER_OF_PROXY;
	}
	key.kind = WEIR_FROM_BACKEND;
	key.tuple = packet->tuple;
	known = weir_find_translation(&key, now);
	if (!known)
		return WEIR_ANSWER_PLAIN;
	if (weir_is_close(packet->tuple.protocol, packet->tcp_flags))
		known->flags |= WEIR_CT_CLOSING;
	if (weir_needs_touch(now, known->last_seen_ns))
		known->last_seen_ns = now;
	*service = known->other;
	return WEIR_ANSWER_OF_BACKEND;
}

#endif
