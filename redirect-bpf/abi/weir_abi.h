/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0)
 *
 * The contract between the kernel half (redirect-bpf/bpf) and the user half: keys and values of
 * every map, verdict and reason codes, packet marks. Compiled as C11 for BPF and as C++20.
 *
 * Addresses are 16 bytes in network order, IPv4 as ::ffff:a.b.c.d, so that one map serves both
 * families. Integers are in host byte order unless the name ends in _be. Padding is explicit and
 * zero: keys are compared as bytes. Codes are append-only; a retired one is never used again.
 * A change of any layout raises WEIR_ABI_VERSION: maps pinned by another version are not adopted.
 */
#ifndef WEIR_ABI_H
#define WEIR_ABI_H

#ifndef __bpf__
#include <linux/types.h>
#endif

#ifdef __cplusplus
#define WEIR_ASSERT_LAYOUT(type, bytes) static_assert(sizeof(type) == (bytes), #type)
#else
#define WEIR_ASSERT_LAYOUT(type, bytes) _Static_assert(sizeof(type) == (bytes), #type)
#endif

#define WEIR_ABI_VERSION 2

/* skb->mark. 0x200: deliver to the proxy (ip rule → local table). 0x300: sent by the proxy from a
 * pod's address; both directions of policy were judged already. Other bits are left to others. */
#define WEIR_MARK_MASK 0xf00u
#define WEIR_MARK_TO_PROXY 0x200u
#define WEIR_MARK_FROM_PROXY 0x300u
/* A packet that weir_from_pod itself sends back to the pod: nobody's policy has a say. Set and
 * taken away within the kernel. */
#define WEIR_MARK_TO_SENDER 0x400u
#define WEIR_ROUTE_TABLE 100

/* Reserved identities, numbered as Cilium numbers them. */
enum weir_identity {
  WEIR_IDENTITY_ANY = 0, /* in policy keys only: whoever the peer is */
  WEIR_IDENTITY_HOST = 1,
  WEIR_IDENTITY_WORLD = 2,
  WEIR_IDENTITY_UNMANAGED = 3,
  WEIR_IDENTITY_HEALTH = 4,
  WEIR_IDENTITY_INIT = 5,
  WEIR_IDENTITY_REMOTE_NODE = 6,
  WEIR_IDENTITY_KUBE_APISERVER = 7,
  WEIR_IDENTITY_INGRESS = 8,
  WEIR_IDENTITY_WORLD_IPV4 = 9,
  WEIR_IDENTITY_WORLD_IPV6 = 10,
  /* In policy keys only: the row whose fqdn_* masks judge addresses learned from DNS. */
  WEIR_IDENTITY_LEARNED = 255,
  WEIR_IDENTITY_FIRST_POD = 256,
  WEIR_IDENTITY_FIRST_PREFIX = 1 << 24,
};

enum weir_direction {
  WEIR_INGRESS = 0, /* as seen from the endpoint */
  WEIR_EGRESS = 1,
};
/* In policy keys, added to the direction: rows of the policies that are enforced, without those
 * that are audited. Only where the endpoint has WEIR_ENDPOINT_AUDITED, and then complete. */
#define WEIR_WITHOUT_AUDITED 2u

enum weir_verdict {
  WEIR_DENY = 0,
  WEIR_ALLOW = 1,
  WEIR_REDIRECT = 2, /* the proxy decides at L7 */
};

/* Why a packet was dropped; index of weir_drops and reason of an event. */
enum weir_drop {
  WEIR_DROP_NONE = 0,
  WEIR_DROP_POLICY = 1,       /* no rule allows it */
  WEIR_DROP_POLICY_DENY = 2,  /* a rule denies it */
  WEIR_DROP_FQDN_EXPIRED = 3, /* learned once, its time is over */
  WEIR_DROP_NO_POLICY = 4,    /* the endpoint has no computed policy yet: held */
  WEIR_DROP_NO_PROXY = 5,     /* to be redirected, and no worker listens */
  WEIR_DROP_SPOOFED = 6,      /* source address is not the pod's */
  WEIR_DROP_FRAGMENT = 7,
  WEIR_DROP_MALFORMED = 8, /* headers cut short or not understood */
  WEIR_DROP_EXTENSION = 9, /* IPv6 extension headers that are not walked, IPv4 source routes */
  WEIR_DROP_MISSED_REDIRECT = 10, /* reached the pod although it had to go through the proxy */
  WEIR_DROP_UNROUTED_MARK = 11,   /* meant for the proxy but about to leave: the ip rule is gone */
  WEIR_DROP_CT_FULL = 12,
  WEIR_DROP_TO_LOOPBACK = 13, /* a pod addressing the node's loopback, where weir listens */
  WEIR_DROP_NO_BACKEND = 14,  /* the service has none: refused with RST or ICMP where possible */
  WEIR_DROP_PORT_IN_USE = 15, /* the pod has a flow from that port to each backend tried */
  WEIR_DROP_AUDIT = 16,       /* not dropped: refused by an audited policy only. Counts new flows */
  WEIR_DROP_NO_PROGRAM = 17,  /* came in by an interface of a pod without weir's programs: held */
  WEIR_DROP_MAX = 32,
};

struct weir_addr {
  __u8 bytes[16] __attribute__((aligned(4))); /* copied by words in BPF */
};
WEIR_ASSERT_LAYOUT(struct weir_addr, 16);

/* weir_config (array of one). Writer: user. Reader: every packet.
 *
 * The low bit of the revision is the slot that packets are judged by: identities, policies and
 * enforcement flags exist twice. The user half fills the other slot in peace and then raises the
 * revision by one, so that a packet meets the old state or the new one and never a mixture. Raised
 * by two, it only makes every flow be decided again. */
struct weir_config {
  __u32 revision; /* a flow decided under another one is re-decided */
  __u32 workers;  /* listeners per kind and family; 0: nobody listens */
};
#define WEIR_SLOTS 2
static inline __u32 weir_slot(__u32 revision) { return revision & 1u; }
WEIR_ASSERT_LAYOUT(struct weir_config, 8);

/* weir_endpoints (hash, key: struct weir_addr, one entry an address of each pod on this node). */
struct weir_endpoint {
  __u32 id;                /* of the endpoint; never 0, never used again for another pod */
  __u32 identity;          /* of its labels: for people; packets ask weir_identities */
  __u32 ifindex;           /* host side of its veth; 0: not there yet */
  __u16 flags[WEIR_SLOTS]; /* WEIR_ENDPOINT_* */
};
WEIR_ASSERT_LAYOUT(struct weir_endpoint, 16);
#define WEIR_ENDPOINT_INGRESS_ENFORCED 1u
#define WEIR_ENDPOINT_EGRESS_ENFORCED 2u
#define WEIR_ENDPOINT_HELD 4u /* no policy computed yet: everything is dropped */
/* Some policy is only audited: its rows with WEIR_WITHOUT_AUDITED decide about what the others
 * refuse. */
#define WEIR_ENDPOINT_AUDITED 8u
#define WEIR_ENDPOINT_JOINED 16u /* its connections with the proxy may be joined */

/* weir_identities (array of maps, index: slot) → inner LPM trie of these: whose address is this?
 * Value: __u32 identity. Pods as /128 (mapped), nodes, and every prefix a policy names. A miss is
 * world of the address's family. */
struct weir_identity_key {
  __u32 prefix_length; /* over the 128 mapped bits */
  struct weir_addr address;
};
WEIR_ASSERT_LAYOUT(struct weir_identity_key, 20);

/* weir_policies (hash of maps) → inner LPM trie of weir_policy_key, replaced as a whole. */
struct weir_policy_slot {
  __u32 endpoint;
  __u32 slot;
};
WEIR_ASSERT_LAYOUT(struct weir_policy_slot, 8);

/* Key of the inner trie.
 *
 * A packet is looked up twice, with the peer's identity and with WEIR_IDENTITY_ANY, and, when its
 * address was learned from DNS, a third time with WEIR_IDENTITY_LEARNED; decide.h joins the
 * answers: deny beats redirect beats allow. Within one identity only the longest match answers, so
 * the compiler has already joined into each row whatever wider row of the same identity covers it.
 *
 * identity and direction are always matched whole; protocol may be left open; ports of one
 * protocol may be open or a power-of-two block. For ICMP the port is the type. */
struct weir_policy_key {
  __u32 prefix_length; /* WEIR_POLICY_PREFIX_* (+ bits of the port) */
  __u32 identity;
  __u8 direction; /* enum weir_direction, perhaps with WEIR_WITHOUT_AUDITED */
  __u8 protocol;  /* IPPROTO_* */
  __u16 port_be;  /* the destination's, of the flow's first packet; ICMP: the type */
};
WEIR_ASSERT_LAYOUT(struct weir_policy_key, 12);
#define WEIR_POLICY_PREFIX_ANY_PROTOCOL 40u
#define WEIR_POLICY_PREFIX_ANY_PORT 48u
#define WEIR_POLICY_PREFIX_FULL 64u

/* In rows of WEIR_IDENTITY_LEARNED the masks judge: bit n stands for the endpoint's n-th group of
 * FQDN selectors, and `verdict` is unused. In all other rows the masks are 0. */
struct weir_policy_entry {
  __u64 fqdn_deny;
  __u64 fqdn_redirect;
  __u64 fqdn_allow;
  __u32 rule;   /* for events: index into the Program's rule table; 0 = default deny */
  __u8 verdict; /* enum weir_verdict */
  __u8 pad[3];
};
WEIR_ASSERT_LAYOUT(struct weir_policy_entry, 32);

/* Both together, as the user half's parts hand them to each other: of no map. */
struct weir_policy_row {
  struct weir_policy_key key;
  struct weir_policy_entry entry;
};

/* weir_learned (hash): addresses learned from DNS answers, per endpoint. Writer: the worker that
 * proxied the answer, before it releases it; the control thread on policy change and expiry. */
struct weir_learned_key {
  __u32 endpoint;
  struct weir_addr address;
};
WEIR_ASSERT_LAYOUT(struct weir_learned_key, 20);

struct weir_learned_entry {
  __u64 groups;       /* bit n: some name of this address matches FQDN group n of the endpoint */
  __u64 expires_ns;   /* CLOCK_BOOTTIME; later than this no new flow is opened by it */
  __u64 last_used_ns; /* CLOCK_BOOTTIME; written by BPF about once a second while flows use it */
};
WEIR_ASSERT_LAYOUT(struct weir_learned_entry, 24);

/* Addresses and ports in the direction of the flow's first packet. */
struct weir_tuple {
  struct weir_addr source;
  struct weir_addr destination;
  __u16 source_port_be; /* ICMP echo: the identifier in both */
  __u16 destination_port_be;
  __u8 protocol;
  __u8 pad[3];
};
WEIR_ASSERT_LAYOUT(struct weir_tuple, 40);

/* weir_conntrack (LRU hash). One entry a flow, endpoint and direction: a flow between two pods of
 * this node has two. */
struct weir_ct_key {
  struct weir_tuple tuple;
  __u32 endpoint;
  __u8 direction;
  __u8 pad[3];
};
WEIR_ASSERT_LAYOUT(struct weir_ct_key, 48);

struct weir_ct_entry {
  __u64 last_seen_ns; /* CLOCK_MONOTONIC, about once a second */
  __u32 revision;     /* weir_config.revision it was decided under */
  __u32 rule;
  __u8 verdict; /* WEIR_ALLOW or WEIR_REDIRECT; denied flows have no entry */
  __u8 flags;   /* WEIR_CT_* */
  __u8 turn;    /* WEIR_REDIRECT: says the worker, modulo their number */
  __u8 pad[5];
};
WEIR_ASSERT_LAYOUT(struct weir_ct_entry, 24);
#define WEIR_CT_LEARNED 1u /* allowed by a learned address: keep its weir_learned entry alive */
#define WEIR_CT_REPLIED 2u
#define WEIR_CT_CLOSING 4u
#define WEIR_CT_SETTLED 8u /* redirected TCP: the proxy's socket was seen, the mark is enough */
#define WEIR_CT_PLAIN 16u  /* neither a service's: the verdict is all that its packets need */

/* weir_returns (LRU hash, key: struct weir_tuple as the reply will carry it). Value: __u64
 * CLOCK_MONOTONIC, but for its lowest bit. Written when a packet marked WEIR_MARK_FROM_PROXY leaves
 * by any interface. */
#define WEIR_RETURN_RESET 1ull /* the proxy has sent RST since its SYN: its socket is gone */

/* weir_services (hash). For each address of a service there is also an entry with port and protocol
 * 0, whose value means nothing: whether an address is a service's is then one look-up. It stays
 * when the service is gone, as long as there are flows to it. */
struct weir_service_key {
  struct weir_addr address;
  __u16 port_be;
  __u8 protocol;
  __u8 pad;
};
WEIR_ASSERT_LAYOUT(struct weir_service_key, 20);

struct weir_service {
  __u32 id; /* of address, port and protocol, as long as these are a service's */
  /* Its backends: elements 0 … backends-1 of the set in weir_backends, each in weir_members too. A
   * set never changes; other backends are another set. */
  __u32 set;
  __u32 backends;         /* 0: connections are refused */
  __u32 affinity_seconds; /* a client keeps its backend for as long after its last flow; 0: not */
  __u32 flags;            /* WEIR_SERVICE_* */
};
WEIR_ASSERT_LAYOUT(struct weir_service, 20);
#define WEIR_SERVICE_GUARDED 1u /* leads to a pod of this node whose ingress is enforced */

struct weir_backend_key {
  __u32 set;
  __u32 index;
};
WEIR_ASSERT_LAYOUT(struct weir_backend_key, 8);

struct weir_backend {
  struct weir_addr address;
  __u16 port_be;
  __u8 pad[2];
};
WEIR_ASSERT_LAYOUT(struct weir_backend, 20);

/* weir_members (hash). Value: __u32, unused. */
struct weir_member_key {
  __u32 set;
  struct weir_backend backend;
};
WEIR_ASSERT_LAYOUT(struct weir_member_key, 24);

/* weir_affinity (LRU hash). */
struct weir_affinity_key {
  __u32 service;
  struct weir_addr client;
};
WEIR_ASSERT_LAYOUT(struct weir_affinity_key, 20);

struct weir_affinity_entry {
  __u64 last_seen_ns; /* CLOCK_MONOTONIC */
  struct weir_backend backend;
  __u8 pad[4];
};
WEIR_ASSERT_LAYOUT(struct weir_affinity_entry, 32);

/* weir_translations (LRU hash): two entries a flow of a pod to a service. */
enum weir_translation_kind {
  WEIR_TO_BACKEND = 0,   /* key: as the pod sends it. Value: the backend */
  WEIR_FROM_BACKEND = 1, /* key: as the backend answers. Value: the service */
  WEIR_FROM_SELF = 2,    /* key: as the pod answers itself, whom it knows by the service's address
                          * and its own source port. Value: the service */
};
struct weir_translation_key {
  struct weir_tuple tuple;
  __u32 kind;
};
WEIR_ASSERT_LAYOUT(struct weir_translation_key, 44);

struct weir_translation {
  __u64 last_seen_ns; /* CLOCK_MONOTONIC, about once a second */
  struct weir_backend other;
  __u32 set;     /* TO_BACKEND: the one it was chosen from */
  __u32 service; /* TO_BACKEND: its id */
  __u8 flags;    /* WEIR_CT_REPLIED, WEIR_CT_CLOSING */
  __u8 pad[3];
};
WEIR_ASSERT_LAYOUT(struct weir_translation, 40);

/* weir_interfaces (devmap, key and value: interface index): those that have their programs. The
 * kernel takes an entry away with its interface, so that another of the same number is not known.
 *
 * weir_births (array of one): what becomes of packets that came in by another interface. */
struct weir_births {
  __u64 netns; /* the node's in the kernel, as weir_find_netns wrote it down; 0: not known */
  __u32 flags; /* WEIR_BIRTHS_* */
  __u32 pad;
};
WEIR_ASSERT_LAYOUT(struct weir_births, 16);
/* Held where they say to be from a pod of this node, or it has the name of one's. */
#define WEIR_BIRTHS_HELD 1u
/* And where it is a veth that weir_names does not know as another's. */
#define WEIR_BIRTHS_VETHS 2u

/* weir_names (LPM trie): whose interface has this name, or one that begins like this. Value: __u32
 * enum weir_name_of. */
enum weir_name_of {
  WEIR_NAME_OTHERS = 0, /* no pod's */
  WEIR_NAME_PODS = 1,   /* of a pod of this node */
};
#define WEIR_INTERFACE_NAME 16
struct weir_name_key {
  __u32 prefix_length; /* in bits; with the zero behind it, of a whole name */
  char name[WEIR_INTERFACE_NAME];
};
WEIR_ASSERT_LAYOUT(struct weir_name_key, 20);

/* Where the running kernel has the fields by which an interface is found (.rodata; births.h). */
struct weir_kernel_layout {
  __u32 known; /* 0: nobody can tell */
  __u32 skb_dev;
  __u32 dev_net;
  __u32 net_index_head; /* a hash of lists, by index */
  __u32 dev_index_hlist;
  __u32 dev_ifindex;
  __u32 dev_name;
  __u32 dev_link_ops;
  __u32 link_ops_kind;
};
WEIR_ASSERT_LAYOUT(struct weir_kernel_layout, 36);

/* weir_listeners (sockmap): index = weir_listener_index(). A worker has many sockets for UDP,
 * lanes, of which an endpoint always has the same: what one pod sends too much of is lost in its
 * lane. */
#define WEIR_MAX_WORKERS 64
#define WEIR_UDP_LANES 32
enum weir_listener_kind {
  WEIR_LISTENER_TCP = 0, /* one lane */
  WEIR_LISTENER_UDP = 1,
};
#define WEIR_LISTENERS (2 * WEIR_MAX_WORKERS * (1 + WEIR_UDP_LANES))
static inline __u32 weir_listener_index(__u32 kind, __u32 is_v6, __u32 worker, __u32 lane) {
  __u32 place = is_v6 * WEIR_MAX_WORKERS + worker;

  return kind == WEIR_LISTENER_TCP ? place : 2 * WEIR_MAX_WORKERS + place * WEIR_UDP_LANES + lane;
}

/* weir_counters (per-CPU array, key: enum weir_counter): packets. */
enum weir_counter {
  WEIR_COUNT_UNTOUCHED = 0, /* no policy selects the pod */
  WEIR_COUNT_ALLOWED = 1,
  WEIR_COUNT_REDIRECTED = 2, /* handed or marked to the proxy */
  WEIR_COUNT_RETURNED = 3,   /* answers to the proxy's own connections */
  WEIR_COUNT_FROM_PROXY = 4, /* sent by the proxy's own connections */
  WEIR_COUNT_EVENTS_LOST = 5,
  WEIR_COUNT_MAX = 16,
};

/* weir_drops (per-CPU array): packets, index = weir_drop_index(). */
static inline __u32 weir_drop_index(__u32 reason, __u32 direction) {
  return reason * 2 + direction;
}
#define WEIR_DROP_COUNTERS (WEIR_DROP_MAX * 2)

/* Joined sockets (bpf/join.bpf.c): the two ends of a connection between a pod and the proxy.
 *
 * weir_join_config (array of one). Writer: user. Reader: join's programs. */
struct weir_join_config {
  __u64 node_netns;   /* cookie of the namespace that the proxy is in */
  __u32 enabled;      /* 0: everything goes by TCP, also between sockets that are joined */
  __u32 max_bytes;    /* that may wait in a reader's queue, however large its buffer is */
  __u32 max_messages; /* in which they may lie there */
  __u32 pad;
};
WEIR_ASSERT_LAYOUT(struct weir_join_config, 24);

/* weir_joined (sockhash) and weir_join_ends (hash, value: address of the kernel's socket): one end
 * as it sees itself. With both initial sequence numbers no other connection has the same, also not
 * one with the same addresses and ports in another namespace. */
struct weir_join_key {
  struct weir_addr local;
  struct weir_addr remote;
  __u32 first_sent; /* sequence numbers of the first byte in each direction */
  __u32 first_received;
  __u16 local_port_be;
  __u16 remote_port_be;
};
WEIR_ASSERT_LAYOUT(struct weir_join_key, 44);

/* weir_join_habits (LRU hash, value: __u32): whose connections to whom. The value counts those that
 * ended, one after the other, before they were worth joining (decide.h, weir_join_worth). */
struct weir_join_habit {
  struct weir_addr from; /* who opens them */
  struct weir_addr to;   /* what he asks for: a service's address where it is one */
  __u16 port_be;
  __u8 pad[2];
};
WEIR_ASSERT_LAYOUT(struct weir_join_habit, 36);

enum weir_join_role {
  WEIR_JOIN_NONE = 0,
  WEIR_JOIN_LISTENER = 1,   /* the proxy's; what it accepts inherits this */
  WEIR_JOIN_DOWNSTREAM = 2, /* the proxy's, accepted from a client pod */
  WEIR_JOIN_UPSTREAM = 3,   /* the proxy's, to a server pod */
  WEIR_JOIN_CLIENT = 4,     /* a pod's, redirected */
  WEIR_JOIN_SERVER = 5,     /* a pod's, accepted from the proxy */
};

/* weir_join_state (socket storage). Writer: user for listeners, else join's programs. */
struct weir_join_state {
  __u64 peer_socket;         /* the other end in the kernel; 0: not looked up yet */
  __u64 touched_jiffies;     /* what keeps the flow alive in the other maps was renewed then */
  struct weir_join_key peer; /* the other end */
  __u32 revision;            /* weir_config.revision that the flow was last looked up under */
  /* Whose rows allow it. CLIENT, DOWNSTREAM: the entry in weir_conntrack. UPSTREAM, SERVER: tuple
   * is the key in weir_returns, endpoint the server. */
  struct weir_ct_key flow;
  struct weir_addr pod; /* key in weir_endpoints */
  __u32 messages;       /* put into the peer's queue since that was last seen empty */
  __u8 role;
  __u8 used; /* messages of this end that went the short way so far, as far as it counts */
  __u8 pad[2];
};
WEIR_ASSERT_LAYOUT(struct weir_join_state, 136);

/* What weir_rest says (BPF_PROG_RUN, its context: the key of a pod's end) of it and of the proxy's
 * end, as a sum. */
enum weir_join_rest {
  WEIR_REST_POD_JOINED = 1, /* or somebody is still in a call that began when it was */
  WEIR_REST_POD_QUEUED = 2, /* what came by the short way has not all been read */
  WEIR_REST_PROXY_QUEUED = 4,
};

/* weir_join_counts (per-CPU array, key: enum weir_join_count). */
enum weir_join_count {
  WEIR_JOIN_SOCKETS = 0, /* joined so far */
  WEIR_JOIN_BYTES_TO_PROXY = 1,
  WEIR_JOIN_BYTES_TO_POD = 2,
  WEIR_JOIN_MESSAGES_TO_PROXY = 3,
  WEIR_JOIN_MESSAGES_TO_POD = 4,
  /* Messages that went by TCP all the same, by reason. */
  WEIR_JOIN_OFF = 5,       /* switched off, for all or for the pod */
  WEIR_JOIN_UNDECIDED = 6, /* the data path has not said under the present policy: redirect */
  WEIR_JOIN_NO_PEER = 7,   /* the other end is not joined (yet) */
  WEIR_JOIN_UNREAD = 8,    /* bytes that went by TCP have not been read yet */
  WEIR_JOIN_FULL = 9,      /* as much as may wait in the reader's queue is there */
  WEIR_JOIN_UNFIT = 10,    /* TLS in the kernel, zero-copy, a blocking reader, memory pressure */
  WEIR_JOIN_BUSY = 11,     /* the pod's socket is locked; the proxy does not wait for a pod */
  WEIR_JOIN_LAST = 12,     /* the proxy holds it back (TCP_CORK) to end the connection with it */
  /* Connections that were not joined, because the ones before them were hardly used. */
  WEIR_JOIN_BRIEF = 13,
  WEIR_JOIN_COUNT_MAX = 16,
};

/* weir_events (ring buffer): one for each new flow that was decided, and each dropped packet that
 * opened none. */
struct weir_event {
  __u64 time_ns; /* CLOCK_BOOTTIME */
  struct weir_tuple tuple;
  __u32 endpoint;
  __u32 identity; /* of the peer */
  __u32 rule;
  __u8 verdict;
  __u8 reason;
  __u8 direction;
  __u8 pad;
};
WEIR_ASSERT_LAYOUT(struct weir_event, 64);

#endif
