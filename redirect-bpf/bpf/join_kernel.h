/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0)
 *
 * The fields of the kernel's sockets that join.bpf.c reads, by name: libbpf finds their places in
 * the running kernel's BTF when the object is loaded.
 */
#ifndef WEIR_JOIN_KERNEL_H
#define WEIR_JOIN_KERNEL_H

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct {
	int counter;
} atomic_t;

typedef struct {
	int owned; /* somebody is in a system call on the socket */
} socket_lock_t;

struct file {
	unsigned int f_flags;
};

struct socket {
	struct file *file;
};

struct proto {
	unsigned long *memory_pressure;
};

struct sock_common {
	unsigned long skc_flags;
	struct proto *skc_prot;
};

struct sock {
	struct sock_common __sk_common;
	socket_lock_t sk_lock;
	struct {
		atomic_t rmem_alloc; /* bytes that wait for the reader */
	} sk_backlog;
	int sk_rcvbuf;
	__u8 sk_shutdown;
	struct socket *sk_socket; /* 0: not accepted yet */
	void *sk_user_data;	  /* of a joined socket: sk_psock, and flags in the lowest bits */
};

struct list_head {
	struct list_head *next;
};

struct sk_psock {
	struct list_head ingress_msg; /* what came by the short way and waits for the reader */
};

struct inet_sock {
	struct sock sk;
};

struct inet_connection_sock {
	struct inet_sock icsk_inet;
	const void *icsk_ulp_ops; /* TLS in the kernel, MPTCP */
};

struct tcp_sock {
	struct inet_connection_sock inet_conn;
	__u32 copied_seq; /* what the reader has taken */
	__u32 write_seq;  /* what the writer has given */
	__u8 nonagle : 4; /* WEIR_NAGLE_CORK and others */
};

#pragma clang attribute pop

enum {
	WEIR_NO_MORE_SENT = 2, /* SEND_SHUTDOWN */
	WEIR_NAGLE_CORK = 2,   /* TCP_NAGLE_CORK: TCP_CORK is set */
};

#define WEIR_USER_DATA_PSOCK 4ull /* SK_USER_DATA_PSOCK */
#define WEIR_USER_DATA_FLAGS 7ull

enum sock_flags {
	SOCK_ZEROCOPY = 21,
};

/* Newer than the headers of libbpf 1.1: a pointer that is only ever read through. */
extern void *bpf_rdonly_cast(const void *object, __u32 type) __ksym;
extern void bpf_rcu_read_lock(void) __ksym;
extern void bpf_rcu_read_unlock(void) __ksym;

#endif
