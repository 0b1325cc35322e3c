/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0)
 *
 * Joins the two ends of a connection between the proxy and a pod of this node, so that messages
 * need not pass through TCP twice:
 *
 *   weir_join   sockops  finds both ends when the connection is established
 *   weir_send   sk_msg   decides for each message: straight into the reader's queue, or by TCP
 *   weir_rest   syscall  tells the loader whether a joined connection may leave the short way
 *   weir_probe  sk_msg   for the loader's test of the kernel
 *
 *   client pod ══ CLIENT │ DOWNSTREAM ══ proxy ══ UPSTREAM │ SERVER ══ server pod
 *
 * Nothing passes here that the data path has not sent to the proxy: CLIENT and DOWNSTREAM need the
 * flow's entry in weir_conntrack to say REDIRECT under the present revision, SERVER its entry in
 * weir_returns, which only the proxy's marked packets make. After each change of policy the next
 * message goes by TCP, is judged there, and then the short way is open again.
 *
 * Order and bound: decide.h, weir_join_step(). Whatever is not certain goes by TCP. The other end
 * is read through a pointer that may be out of date; what was read then counts for nothing, because
 * weir_joined holds no closed socket and no second one by the same key, and the redirection fails.
 */
#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "redirect-bpf/abi/weir_abi.h"
#include "redirect-bpf/bpf/conntrack.h"
#include "redirect-bpf/bpf/decide.h"
#include "redirect-bpf/bpf/join_kernel.h"
#include "redirect-bpf/bpf/join_maps.h"
#include "redirect-bpf/bpf/maps.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

enum {
	WEIR_AF_INET = 2,
	WEIR_AF_INET6 = 10,
	WEIR_NONBLOCK = 04000, /* O_NONBLOCK on x86 and ARM */
	/* A second at 250 Hz: flows are kept alive for hours, so about is enough. */
	WEIR_TOUCH_JIFFIES = 256,
};

static __always_inline void weir_join_count(__u32 counter, __u64 by)
{
	__u64 *value = bpf_map_lookup_elem(&weir_join_counts, &counter);

	if (value)
		*value += by;
}

static __always_inline struct weir_join_config *weir_read_join_config(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&weir_join_config, &zero);
}

static __always_inline __u32 weir_revision(void)
{
	struct weir_config *config;
	__u32 zero = 0;

	config = bpf_map_lookup_elem(&weir_config, &zero);
	return config ? *(volatile __u32 *)&config->revision : 0;
}

static __always_inline bool weir_is_proxys(__u8 role)
{
	return role == WEIR_JOIN_DOWNSTREAM || role == WEIR_JOIN_UPSTREAM;
}

static __always_inline bool weir_is_downstream(__u8 role)
{
	return role == WEIR_JOIN_DOWNSTREAM || role == WEIR_JOIN_CLIENT;
}

static __always_inline bool weir_has_opened(__u8 role)
{
	return role == WEIR_JOIN_CLIENT || role == WEIR_JOIN_UPSTREAM;
}

/* --- when a connection is established */

static __always_inline bool weir_own_key(struct bpf_sock_ops *ops, struct weir_join_key *key)
{
	__builtin_memset(key, 0, sizeof(*key));
	if (ops->family == WEIR_AF_INET) {
		__u32 local = ops->local_ip4, remote = ops->remote_ip4;

		key->local.bytes[10] = key->local.bytes[11] = 0xff;
		key->remote.bytes[10] = key->remote.bytes[11] = 0xff;
		__builtin_memcpy(key->local.bytes + 12, &local, 4);
		__builtin_memcpy(key->remote.bytes + 12, &remote, 4);
	} else if (ops->family == WEIR_AF_INET6) {
		/* One word at a time: the context knows no longer ones, so they must not be joined.
		 */
		__u32 local[4], remote[4];

		for (int i = 0; i < 4; i++) {
			local[i] = ((volatile struct bpf_sock_ops *)ops)->local_ip6[i];
			remote[i] = ((volatile struct bpf_sock_ops *)ops)->remote_ip6[i];
		}
		__builtin_memcpy(key->local.bytes, local, 16);
		__builtin_memcpy(key->remote.bytes, remote, 16);
	} else {
		return false;
	}
	key->local_port_be = bpf_htons(ops->local_port);
	key->remote_port_be = ops->remote_port >> 16;
	key->first_sent = ops->snd_una;
	key->first_received = ops->rcv_nxt;
	return true;
}

static __always_inline void weir_other_key(const struct weir_join_key *own,
					   struct weir_join_key *other)
{
	other->local = own->remote;
	other->remote = own->local;
	other->first_sent = own->first_received;
	other->first_received = own->first_sent;
	other->local_port_be = own->remote_port_be;
	other->remote_port_be = own->local_port_be;
}

/* What connections like this one were like. */
static __always_inline void weir_habit_of(const struct weir_join_key *own, __u8 role,
					  struct weir_join_habit *habit)
{
	bool opened = weir_has_opened(role);

	__builtin_memset(habit, 0, sizeof(*habit));
	habit->from = opened ? own->local : own->remote;
	habit->to = opened ? own->remote : own->local;
	habit->port_be = opened ? own->remote_port_be : own->local_port_be;
}

/* What the end with this key sends. */
static __always_inline void weir_tuple_of(const struct weir_join_key *key, struct weir_tuple *tuple)
{
	__builtin_memset(tuple, 0, sizeof(*tuple));
	tuple->source = key->local;
	tuple->destination = key->remote;
	tuple->source_port_be = key->local_port_be;
	tuple->destination_port_be = key->remote_port_be;
	tuple->protocol = WEIR_PROTO_TCP;
}

/* Does the data path hold, under this revision, what lets the flow be joined? */
__noinline int weir_may_join(const struct weir_join_state *state, __u32 revision)
{
	struct weir_endpoint *pod;
	struct weir_ct_key key;
	struct weir_ct_entry *entry;
	__u16 flags;

	if (!state)
		return WEIR_JOIN_UNDECIDED;
	pod = bpf_map_lookup_elem(&weir_endpoints, &state->pod);
	if (!pod || pod->id != state->flow.endpoint)
		return WEIR_JOIN_UNDECIDED;
	flags = pod->flags[weir_slot(revision)];
	if (flags & WEIR_ENDPOINT_HELD)
		return WEIR_JOIN_UNDECIDED;
	if (!(flags & WEIR_ENDPOINT_JOINED))
		return WEIR_JOIN_OFF;
	if (!weir_is_downstream(state->role))
		return weir_find_return(&state->flow.tuple, weir_now()) ? WEIR_JOIN_SOCKETS
									: WEIR_JOIN_UNDECIDED;
	key = state->flow;
	entry = weir_find_flow(&key, weir_now());
	if (!entry || entry->revision != revision || entry->verdict != WEIR_REDIRECT)
		return WEIR_JOIN_UNDECIDED;
	return WEIR_JOIN_SOCKETS;
}

/* What this end is to the proxy; NONE: nothing. */
static __always_inline __u8 weir_role_of(struct bpf_sock_ops *ops, struct bpf_sock *socket,
					 const struct weir_join_state *inherited,
					 const struct weir_join_config *config)
{
	bool active = ops->op == BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB;

	if (bpf_get_netns_cookie(ops) != config->node_netns)
		return active ? WEIR_JOIN_CLIENT : WEIR_JOIN_SERVER;
	if (active)
		return weir_mark_of(socket->mark) == WEIR_MARK_FROM_PROXY ? WEIR_JOIN_UPSTREAM
									  : WEIR_JOIN_NONE;
	return inherited && inherited->role == WEIR_JOIN_LISTENER ? WEIR_JOIN_DOWNSTREAM
								  : WEIR_JOIN_NONE;
}

/* The backend of the flow, where it goes to a service: that is what it is known by. */
static __always_inline void weir_name_backend(struct weir_tuple *tuple)
{
	struct weir_translation_key key = {.tuple = *tuple, .kind = WEIR_TO_BACKEND};
	struct weir_translation *known = bpf_map_lookup_elem(&weir_translations, &key);

	if (!known)
		return;
	tuple->destination = known->other.address;
	tuple->destination_port_be = known->other.port_be;
}

/* A blocking reader would be told EAGAIN at a signal, and a read for a certain length be cut short:
 * the kernel's way of reading joined sockets knows neither. TLS and MPTCP change what is sent. */
static __always_inline bool weir_is_fit(struct bpf_sock *socket, __u8 role, __u64 *address)
{
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock(socket);
	struct socket *opened;
	struct file *file;

	if (!tcp || tcp->inet_conn.icsk_ulp_ops)
		return false;
	*address = (__u64)tcp;
	if (role != WEIR_JOIN_CLIENT)
		return true;
	opened = tcp->inet_conn.icsk_inet.sk.sk_socket;
	file = opened ? opened->file : 0;
	return file && (file->f_flags & WEIR_NONBLOCK);
}

static __always_inline bool weir_is_worth(const struct weir_join_key *own, __u8 role)
{
	struct weir_join_habit habit;
	__u32 *briefs;

	weir_habit_of(own, role, &habit);
	briefs = bpf_map_lookup_elem(&weir_join_habits, &habit);
	if (!briefs || weir_join_worth(*briefs, bpf_get_prandom_u32()))
		return true;
	weir_join_count(WEIR_JOIN_BRIEF, 1);
	return false;
}

/* The end that opened the connection is established first, and decides. The other one follows it:
 * without a peer it would only pay. */
static __always_inline void weir_established(struct bpf_sock_ops *ops)
{
	struct weir_join_config *config = weir_read_join_config();
	struct bpf_sock *socket = ops->sk;
	struct weir_join_state made = {};
	struct weir_join_state *state;
	struct weir_endpoint *pod;
	struct weir_join_key key;
	__u64 address = 0;

	if (!config || !config->enabled || !socket)
		return;
	state = bpf_sk_storage_get(&weir_join_state, socket, 0, 0);
	made.role = weir_role_of(ops, socket, state, config);
	if (made.role == WEIR_JOIN_NONE || !weir_own_key(ops, &key))
		return;
	made.pod = weir_is_proxys(made.role) ? key.remote : key.local;
	pod = bpf_map_lookup_elem(&weir_endpoints, &made.pod);
	if (!pod)
		return;
	made.flow.endpoint = pod->id;
	made.flow.direction = WEIR_EGRESS;
	weir_other_key(&key, &made.peer);
	/* First, because where connections are short each of them comes as far as here. */
	if (weir_has_opened(made.role) ? !weir_is_worth(&key, made.role)
				       : !bpf_map_lookup_elem(&weir_join_ends, &made.peer))
		return;
	/* Both are named by what the pod sends: the flow it has begun, or the return. */
	weir_tuple_of(weir_is_proxys(made.role) ? &made.peer : &key, &made.flow.tuple);
	if (weir_is_downstream(made.role))
		weir_name_backend(&made.flow.tuple);
	made.revision = weir_revision();
	if (weir_may_join(&made, made.revision) != WEIR_JOIN_SOCKETS)
		return;
	if (!weir_is_fit(socket, made.role, &address))
		return;
	/* Before the socket is in weir_joined: its first message must find it. */
	state = bpf_sk_storage_get(&weir_join_state, socket, &made, BPF_SK_STORAGE_GET_F_CREATE);
	if (!state)
		return;
	*state = made;
	/* What is in weir_joined is in here too: weir_rest goes by that. */
	if (bpf_map_update_elem(&weir_join_ends, &key, &address, BPF_NOEXIST))
		return;
	if (bpf_sock_hash_update(ops, &weir_joined, &key, BPF_NOEXIST)) {
		bpf_map_delete_elem(&weir_join_ends, &key);
		return;
	}
	bpf_sock_ops_cb_flags_set(ops, ops->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
	weir_join_count(WEIR_JOIN_SOCKETS, 1);
}

static __always_inline void weir_ended(struct bpf_sock_ops *ops)
{
	struct bpf_sock *socket = ops->sk;
	struct weir_join_state *state;
	struct weir_join_habit habit;
	struct weir_join_key key;
	__u32 *known, before, briefs;

	if (!socket)
		return;
	state = bpf_sk_storage_get(&weir_join_state, socket, 0, 0);
	if (!state || state->role < WEIR_JOIN_DOWNSTREAM)
		return;
	weir_other_key(&state->peer, &key);
	bpf_map_delete_elem(&weir_join_ends, &key);
	weir_habit_of(&key, state->role, &habit);
	known = bpf_map_lookup_elem(&weir_join_habits, &habit);
	before = known ? *known : 0;
	briefs = weir_join_briefs(before, weir_has_opened(state->role), state->used);
	if (briefs != before)
		bpf_map_update_elem(&weir_join_habits, &habit, &briefs, BPF_ANY);
}

SEC("sockops")
int weir_join(struct bpf_sock_ops *ops)
{
	switch (ops->op) {
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		weir_established(ops);
		break;
	case BPF_SOCK_OPS_STATE_CB:
		if (ops->args[1] == BPF_TCP_CLOSE)
			weir_ended(ops);
		break;
	}
	return 1;
}

/* --- for each message */

/* No packet of the flow passes the data path any more: what the maps know of it would grow old. */
static __noinline void weir_keep_alive(struct weir_join_state *state)
{
	struct weir_translation_key asked = {.kind = WEIR_TO_BACKEND};
	struct weir_translation *service;
	__u64 now = weir_now();
	struct weir_ct_entry *entry;
	struct weir_ct_key key;
	__u64 *seen;

	key = state->flow;
	if (!weir_is_downstream(state->role)) {
		seen = bpf_map_lookup_elem(&weir_returns, &key.tuple);
		if (seen)
			*seen = weir_return_value(now, *seen & WEIR_RETURN_RESET);
		return;
	}
	entry = weir_find_flow(&key, now);
	if (entry)
		weir_touch_flow(entry, key.endpoint, &key.tuple.destination, 0, now);
	if (state->role == WEIR_JOIN_DOWNSTREAM) {
		weir_tuple_of(&state->peer, &asked.tuple);
	} else {
		struct weir_join_key own;

		weir_other_key(&state->peer, &own);
		weir_tuple_of(&own, &asked.tuple);
	}
	service = bpf_map_lookup_elem(&weir_translations, &asked);
	if (service)
		service->last_seen_ns = now;
}

/* WEIR_JOIN_SOCKETS: nothing is against it. */
static __always_inline __u32 weir_look_at_peer(struct bpf_sock *own, struct weir_join_state *state,
					       const struct weir_join_config *config, __u32 size)
{
	struct tcp_sock *writer = bpf_skc_to_tcp_sock(own);
	struct weir_join_view view = {};
	struct tcp_sock *reader;
	unsigned long *pressure;
	unsigned long pressed = 0;
	__u32 step;

	if (!writer)
		return WEIR_JOIN_UNFIT;
	if (!state->peer_socket) {
		__u64 *address = bpf_map_lookup_elem(&weir_join_ends, &state->peer);

		if (!address)
			return WEIR_JOIN_NO_PEER;
		state->peer_socket = *address;
	}
	reader =
	    bpf_rdonly_cast((void *)state->peer_socket, bpf_core_type_id_kernel(struct tcp_sock));
	/* TCP says EPIPE; the short way would take it, behind the end that the reader has seen. */
	if (writer->inet_conn.icsk_inet.sk.sk_shutdown & WEIR_NO_MORE_SENT)
		return WEIR_JOIN_UNFIT;
	if (writer->inet_conn.icsk_ulp_ops || reader->inet_conn.icsk_ulp_ops)
		return WEIR_JOIN_UNFIT;
	if (weir_is_proxys(state->role)) {
		struct socket *opened = reader->inet_conn.icsk_inet.sk.sk_socket;
		struct file *file = opened ? opened->file : 0;

		/* The reader would have the answer before the end, close first, and keep its port
		 * in TIME_WAIT. TCP sends both as one packet. */
		if (BPF_CORE_READ_BITFIELD(writer, nonagle) & WEIR_NAGLE_CORK)
			return WEIR_JOIN_LAST;
		if (!file || !(file->f_flags & WEIR_NONBLOCK))
			return WEIR_JOIN_UNFIT;
		/* A pod's thread that is in a read may sleep there for as long as it likes. */
		if (reader->inet_conn.icsk_inet.sk.sk_lock.owned)
			return WEIR_JOIN_BUSY;
	} else if (writer->inet_conn.icsk_inet.sk.__sk_common.skc_flags >>
		       bpf_core_enum_value(enum sock_flags, SOCK_ZEROCOPY) &
		   1) {
		/* It waits to be told when its pages are free. */
		return WEIR_JOIN_UNFIT;
	}
	/* Then there may be no memory for the reader's queue, and the writer would be told so. */
	pressure = writer->inet_conn.icsk_inet.sk.__sk_common.skc_prot->memory_pressure;
	if (bpf_probe_read_kernel(&pressed, sizeof(pressed), pressure) || pressed)
		return WEIR_JOIN_UNFIT;

	view.written = writer->write_seq;
	view.read = reader->copied_seq;
	view.queued = reader->inet_conn.icsk_inet.sk.sk_backlog.rmem_alloc.counter;
	view.buffer = reader->inet_conn.icsk_inet.sk.sk_rcvbuf;
	view.messages = state->messages;
	view.size = size;
	step = weir_join_step(&view, config->max_bytes, config->max_messages);
	if (step == WEIR_JOIN_SOCKETS) {
		state->messages = view.queued ? view.messages + 1 : 1;
		if (state->used < WEIR_JOIN_PAYS)
			state->used++;
	}
	return step;
}

static __always_inline __u32 weir_decide_message(struct sk_msg_md *msg, struct bpf_sock *own,
						 struct weir_join_state *state)
{
	struct weir_join_config *config = weir_read_join_config();
	__u32 revision = weir_revision();
	__u64 now = bpf_jiffies64();
	__u32 step;

	if (!config || !config->enabled)
		return WEIR_JOIN_OFF;
	if (state->revision != revision) {
		step = weir_may_join(state, revision);
		if (step != WEIR_JOIN_SOCKETS)
			return step;
		state->revision = revision;
	}
	step = weir_look_at_peer(own, state, config, msg->size);
	if (step != WEIR_JOIN_SOCKETS)
		return step;
	if (now - state->touched_jiffies >= WEIR_TOUCH_JIFFIES) {
		state->touched_jiffies = now;
		weir_keep_alive(state);
	}
	return bpf_msg_redirect_hash(msg, &weir_joined, &state->peer, BPF_F_INGRESS) == SK_PASS
		   ? WEIR_JOIN_SOCKETS
		   : WEIR_JOIN_NO_PEER;
}

SEC("sk_msg")
int weir_send(struct sk_msg_md *msg)
{
	struct weir_join_state *state;
	struct bpf_sock *own = msg->sk;
	bool to_proxy;
	__u32 step;

	state = own ? bpf_sk_storage_get(&weir_join_state, own, 0, 0) : 0;
	if (!state || state->role < WEIR_JOIN_DOWNSTREAM)
		return SK_PASS;
	to_proxy = !weir_is_proxys(state->role);
	step = weir_decide_message(msg, own, state);
	if (step != WEIR_JOIN_SOCKETS) {
		weir_join_count(step, 1);
		return SK_PASS;
	}
	weir_join_count(to_proxy ? WEIR_JOIN_BYTES_TO_PROXY : WEIR_JOIN_BYTES_TO_POD, msg->size);
	weir_join_count(to_proxy ? WEIR_JOIN_MESSAGES_TO_PROXY : WEIR_JOIN_MESSAGES_TO_POD, 1);
	return SK_PASS;
}

/* --- when a connection is to go by TCP alone
 *
 * What waits in a socket's queue is lost when the socket is taken from weir_joined, and a message
 * on its way to it fails. So the loader (Acceleration::leave) takes the pod's end first: its only
 * writer is the proxy, which does not write meanwhile. Once the kernel has forgotten that the pod's
 * end was ever joined (sk_psock, which each call holds), it writes by TCP, and the proxy's end can
 * follow. Each only when its queue is empty. */

static __always_inline struct sk_psock *weir_psock_of(__u64 address)
{
	struct sock *socket;
	__u64 data;

	socket = bpf_rdonly_cast((void *)address, bpf_core_type_id_kernel(struct sock));
	data = (__u64)socket->sk_user_data;
	if (!(data & WEIR_USER_DATA_PSOCK))
		return 0;
	return bpf_rdonly_cast((void *)(data & ~WEIR_USER_DATA_FLAGS),
			       bpf_core_type_id_kernel(struct sk_psock));
}

static __always_inline bool weir_is_queued(struct sk_psock *psock)
{
	return psock && psock->ingress_msg.next != &psock->ingress_msg;
}

SEC("syscall")
int weir_rest(struct weir_join_key *pod)
{
	struct weir_join_key key = *pod, other;
	struct sk_psock *psock;
	__u64 *pods, *proxys;
	int rest = 0;

	weir_other_key(&key, &other);
	bpf_rcu_read_lock();
	pods = bpf_map_lookup_elem(&weir_join_ends, &key);
	if (pods) {
		psock = weir_psock_of(*pods);
		if (psock)
			rest |= WEIR_REST_POD_JOINED;
		if (weir_is_queued(psock))
			rest |= WEIR_REST_POD_QUEUED;
	}
	/* In this order: who is seen to be no writer any more has put his last message. */
	proxys = bpf_map_lookup_elem(&weir_join_ends, &other);
	/* TCP is done with it, the proxy need not be: something may still wait there. */
	if (!proxys || weir_is_queued(weir_psock_of(*proxys)))
		rest |= WEIR_REST_PROXY_QUEUED;
	bpf_rcu_read_unlock();
	return rest;
}

SEC("sk_msg")
int weir_probe(struct sk_msg_md *msg)
{
	return bpf_msg_redirect_map(msg, &weir_join_probe, 0, BPF_F_INGRESS);
}
