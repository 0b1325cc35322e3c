/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0)
 *
 * The maps of join.bpf.c alone; it shares those of maps.h. Apart, because where they cannot be made
 * the data path works without them.
 */
#ifndef WEIR_JOIN_MAPS_H
#define WEIR_JOIN_MAPS_H

/* Writer: user. Reader: join's programs. One entry. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct weir_join_config);
} weir_join_config SEC(".maps");

/* Writer: weir_join; the kernel removes a socket that is closed, user one that goes by TCP from now
 * on. Reader: weir_send. Two entries a
 * connection; one that finds it full is not joined. Pinned: while a socket is in here its queue
 * lives, also when no weir does. */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, 65536);
	__type(key, struct weir_join_key);
	__type(value, __u64);
} weir_joined SEC(".maps");

/* Writer: weir_join, which also removes. Reader: weir_send, once a socket. As weir_joined. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct weir_join_key);
	__type(value, __u64);
} weir_join_ends SEC(".maps");

/* Writer: user (listeners), join's programs. Reader: join's programs. What is accepted from a
 * listener begins with a copy of the listener's. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, struct weir_join_state);
} weir_join_state SEC(".maps");

/* Writer and reader: weir_join. An entry or two for each client of a server. One that finds no room
 * pushes out another, which a few connections learn anew. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct weir_join_habit);
	__type(value, __u32);
} weir_join_habits SEC(".maps");

/* Writer: join's programs. Reader: user. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, WEIR_JOIN_COUNT_MAX);
	__type(key, __u32);
	__type(value, __u64);
} weir_join_counts SEC(".maps");

/* Writer: user. Reader: weir_probe. The two sockets of the self-test. */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} weir_join_probe SEC(".maps");

#endif
