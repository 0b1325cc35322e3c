/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0)
 *
 * Every map. Keys, values and meaning are in the ABI header; here stand writer, reader and size.
 * Sizes are defaults: the loader sets what it was asked for (user/loader.h) before the load.
 */
#ifndef WEIR_MAPS_H
#define WEIR_MAPS_H

#include "redirect-bpf/abi/weir_abi.h"

/* Writer: user. Reader: every program, once a packet. One entry. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct weir_config);
} weir_config SEC(".maps");

/* Writer: user. Reader: every program. The addresses of this node's pods: Kubernetes runs 110 pods
 * a node by default and 500 at most in practice, two addresses each. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct weir_addr);
	__type(value, struct weir_endpoint);
} weir_endpoints SEC(".maps");

/* Key: index of an interface that is the port of a bridge; value: the bridge's. Writer: user.
 * Reader: what is handed to the node. Bridges have some hundred ports. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, __u32);
} weir_bridges SEC(".maps");

/* Writer: user; the kernel removes an interface that is gone. Reader: what is about to leave, or to
 * reach a socket, and was not sent by the node. */
struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP_HASH);
	__uint(max_entries, 8192);
	__type(key, __u32);
	__type(value, __u32);
} weir_interfaces SEC(".maps");

/* Writer: user; weir_find_netns for it. Reader: what came in by an interface without programs. One
 * entry. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct weir_births);
} weir_births SEC(".maps");

/* As weir_births. The pods of this node, and lines of configuration. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 8192);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct weir_name_key);
	__type(value, __u32);
} weir_names SEC(".maps");

/* Writer: user, the slot that is not in use. Reader: flows being decided. Inner tries are made as
 * large as their content; the outer one has an element a slot. */
struct weir_identity_trie {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(key_size, sizeof(struct weir_identity_key));
	__uint(value_size, sizeof(__u32));
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, WEIR_SLOTS);
	__type(key, __u32);
	__array(values, struct weir_identity_trie);
} weir_identities SEC(".maps");

/* Writer: user, the slot that is not in use. Reader: flows being decided. Two elements an
 * endpoint. */
struct weir_policy_trie {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(key_size, sizeof(struct weir_policy_key));
	__uint(value_size, sizeof(struct weir_policy_entry));
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 4096);
	__type(key, struct weir_policy_slot);
	__array(values, struct weir_policy_trie);
} weir_policies SEC(".maps");

/* Writer: user (learn, expiry); programs write last_used_ns only. Reader: egress flows being
 * decided. A full map is an error of learn(): the DNS answer is then not released, so the size
 * bounds (pod, address) pairs that are alive at once on this node. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, struct weir_learned_key);
	__type(value, struct weir_learned_entry);
} weir_learned SEC(".maps");

/* Writer and reader: programs. LRU: under a flood the oldest flows are forgotten and decided again
 * on their next packet. Two entries a flow between pods of this node. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 131072);
	__type(key, struct weir_ct_key);
	__type(value, struct weir_ct_entry);
} weir_conntrack SEC(".maps");

/* Writer: weir_to_pod, weir_to_net. Reader: weir_from_pod, weir_from_net. One entry a connection
 * that the proxy has opened; ports of one source address bound their number. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct weir_tuple);
	__type(value, __u64);
} weir_returns SEC(".maps");

/* Writer: user. Reader: weir_from_pod, weir_to_pod, weir_from_net. Clusters have some thousands of
 * services. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct weir_service_key);
	__type(value, struct weir_service);
} weir_services SEC(".maps");

/* Writer: user, sets that no service names yet or any more. Reader: new flows to a service. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct weir_backend_key);
	__type(value, struct weir_backend);
} weir_backends SEC(".maps");

/* As weir_backends, the other way round. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct weir_member_key);
	__type(value, __u32);
} weir_members SEC(".maps");

/* Writer and reader: programs, new flows to services with affinity. LRU: a forgotten client is
 * given a backend anew. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct weir_affinity_key);
	__type(value, struct weir_affinity_entry);
} weir_affinity SEC(".maps");

/* Writer: weir_from_pod. Reader: programs; user asks for the backend of a redirected flow. LRU: a
 * TCP connection that is forgotten ends, as its packets lead nowhere. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 131072);
	__type(key, struct weir_translation_key);
	__type(value, struct weir_translation);
} weir_translations SEC(".maps");

/* Writer: user; the kernel removes a socket that is closed. Reader: redirect. Values are socket
 * cookies when read by user space, hence 8 bytes. */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, WEIR_LISTENERS);
	__type(key, __u32);
	__type(value, __u64);
} weir_listeners SEC(".maps");

/* Writer: redirect, for a SYN that meets a socket in TIME_WAIT. Reader: weir_reopen, for the very
 * same packet a moment later. Key: its addresses and ports as they are on the wire; value: the
 * listener's place in weir_listeners. LRU: what was read is of no use any more. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct weir_tuple);
	__type(value, __u32);
} weir_reopened SEC(".maps");

/* Writer: programs. Reader: user. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, WEIR_COUNT_MAX);
	__type(key, __u32);
	__type(value, __u64);
} weir_counters SEC(".maps");

/* Writer: programs. Reader: user. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, WEIR_DROP_COUNTERS);
	__type(key, __u32);
	__type(value, __u64);
} weir_drops SEC(".maps");

/* Writer: programs. Reader: user. 1 MiB holds some 14,000 events; what finds it full is counted
 * and lost, so a flood of denied packets costs no more than that. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} weir_events SEC(".maps");

#endif
