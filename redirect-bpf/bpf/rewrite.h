/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0)
 *
 * Changes packets: addresses and ports with their checksums, and packets sent back to the pod that
 * they came from (refusals, its answers to itself). For Ethernet only, which pods' interfaces are.
 */
#ifndef WEIR_REWRITE_H
#define WEIR_REWRITE_H

#include "redirect-bpf/bpf/parse.h"

#define WEIR_ETH_LENGTH 14
/* From the start of the header. */
#define WEIR_IPV4_LENGTH_AT 2
#define WEIR_IPV4_CHECKSUM_AT 10
#define WEIR_IPV4_SOURCE_AT 12
#define WEIR_IPV4_DESTINATION_AT 16
#define WEIR_IPV6_LENGTH_AT 4
#define WEIR_IPV6_SOURCE_AT 8
#define WEIR_IPV6_DESTINATION_AT 24
#define WEIR_TCP_CHECKSUM_AT 16
#define WEIR_UDP_CHECKSUM_AT 6
#define WEIR_ICMP_CHECKSUM_AT 2

enum weir_side {
	WEIR_SIDE_SOURCE = 0,
	WEIR_SIDE_DESTINATION = 1,
};

static __always_inline __u32 weir_address_at(bool is_v6, __u32 side)
{
	if (is_v6)
		return side == WEIR_SIDE_SOURCE ? WEIR_IPV6_SOURCE_AT : WEIR_IPV6_DESTINATION_AT;
	return side == WEIR_SIDE_SOURCE ? WEIR_IPV4_SOURCE_AT : WEIR_IPV4_DESTINATION_AT;
}

/* Puts address and port `to` in the place of `from`, which stand there now. False: not done, and
 * the packet is to be dropped. */
__noinline int weir_rewrite(struct __sk_buff *skb, const struct weir_packet *packet,
			    const struct weir_backend *from, const struct weir_backend *to,
			    __u32 side)
{
	__u32 at, transport, checksum;
	__u64 flags = 0;

	if (!packet || !from || !to)
		return 0;
	at = WEIR_ETH_LENGTH + weir_address_at(packet->is_v6, side);
	transport = WEIR_ETH_LENGTH + packet->payload;
	if (packet->tuple.protocol == WEIR_PROTO_UDP) {
		checksum = transport + WEIR_UDP_CHECKSUM_AT;
		flags = BPF_F_MARK_MANGLED_0; /* 0 says that there is none */
	} else {
		checksum = transport + WEIR_TCP_CHECKSUM_AT;
	}
	if (packet->is_v6) {
		struct weir_addr old = from->address, new = to->address;
		__s64 difference =
		    bpf_csum_diff((__be32 *)&old, sizeof(old), (__be32 *)&new, sizeof(new), 0);

		if (difference < 0 ||
		    bpf_l4_csum_replace(skb, checksum, 0, difference, flags | BPF_F_PSEUDO_HDR))
			return 0;
		if (bpf_skb_store_bytes(skb, at, &new, sizeof(new), 0))
			return 0;
	} else {
		__u32 old, new;

		__builtin_memcpy(&old, from->address.bytes + 12, 4);
		__builtin_memcpy(&new, to->address.bytes + 12, 4);
		if (bpf_l4_csum_replace(skb, checksum, old, new, flags | BPF_F_PSEUDO_HDR | 4) ||
		    bpf_l3_csum_replace(skb, WEIR_ETH_LENGTH + WEIR_IPV4_CHECKSUM_AT, old, new,
					4) ||
		    bpf_skb_store_bytes(skb, at, &new, sizeof(new), 0))
			return 0;
	}
	if (from->port_be != to->port_be) {
		__u16 port = to->port_be;

		if (bpf_l4_csum_replace(skb, checksum, from->port_be, port, flags | 2) ||
		    bpf_skb_store_bytes(skb, transport + (side == WEIR_SIDE_SOURCE ? 0 : 2), &port,
					sizeof(port), 0))
			return 0;
	}
	return 1;
}

/* The same for the destination of the packet that an ICMP error quotes. The quoted IPv4 header's
 * own checksum makes up for the address, so that only the port changes the outer one. */
__noinline int weir_rewrite_quoted(struct __sk_buff *skb, const struct weir_packet *packet,
				   const struct weir_packet *quoted, const struct weir_backend *to)
{
	__u32 inner, outer_checksum;
	__u16 old_port, port;

	if (!packet || !quoted || !to)
		return 0;
	inner = WEIR_ETH_LENGTH + packet->payload + 8;
	outer_checksum = WEIR_ETH_LENGTH + packet->payload + WEIR_ICMP_CHECKSUM_AT;
	if (packet->is_v6) {
		struct weir_addr old = quoted->tuple.destination, new = to->address;
		__s64 difference =
		    bpf_csum_diff((__be32 *)&old, sizeof(old), (__be32 *)&new, sizeof(new), 0);

		if (difference < 0 || bpf_l4_csum_replace(skb, outer_checksum, 0, difference, 0) ||
		    bpf_skb_store_bytes(skb, inner + WEIR_IPV6_DESTINATION_AT, &new, sizeof(new),
					0))
			return 0;
	} else {
		__u32 old, new;

		__builtin_memcpy(&old, quoted->tuple.destination.bytes + 12, 4);
		__builtin_memcpy(&new, to->address.bytes + 12, 4);
		if (bpf_l3_csum_replace(skb, inner + WEIR_IPV4_CHECKSUM_AT, old, new, 4) ||
		    bpf_skb_store_bytes(skb, inner + WEIR_IPV4_DESTINATION_AT, &new, sizeof(new),
					0))
			return 0;
	}
	old_port = quoted->tuple.destination_port_be;
	port = to->port_be;
	return !bpf_l4_csum_replace(skb, outer_checksum, old_port, port, 2) &&
	       !bpf_skb_store_bytes(skb, WEIR_ETH_LENGTH + quoted->payload + 2, &port, sizeof(port),
				    0);
}

/* Back to the pod that the packet came from, without a look at any route. */
static __always_inline int weir_send_back(struct __sk_buff *skb)
{
	__u8 addresses[12], swapped[12];

	if (bpf_skb_load_bytes(skb, 0, addresses, sizeof(addresses)))
		return 2; /* drop */
	__builtin_memcpy(swapped, addresses + 6, 6);
	__builtin_memcpy(swapped + 6, addresses, 6);
	if (bpf_skb_store_bytes(skb, 0, swapped, sizeof(swapped), 0))
		return 2; /* drop */
	skb->mark = weir_with_mark(skb->mark, WEIR_MARK_TO_SENDER);
	return bpf_redirect(skb->ifindex, 0);
}

static __always_inline __u16 weir_fold(__u64 sum)
{
	for (int i = 0; i < 4; i++)
		sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

struct weir_pseudo_header {
	struct weir_addr source, destination; /* mapped IPv4 adds nothing but two times 0xffff */
	__u32 length_be;
	__u32 protocol_be;
};

/* Of `bytes` (a multiple of 4) behind the pseudo header of RFC 8200 §8.1. */
static __always_inline __u16 weir_checksum(const struct weir_packet *packet, __u8 protocol,
					   void *bytes, __u32 length)
{
	struct weir_pseudo_header pseudo = {};
	__s64 sum;

	/* From the packet's destination to its source; the order does not matter. */
	if (packet->is_v6) {
		pseudo.source = packet->asked.address;
		pseudo.destination = packet->tuple.source;
	} else {
		__builtin_memcpy(pseudo.source.bytes + 12, packet->asked.address.bytes + 12, 4);
		__builtin_memcpy(pseudo.destination.bytes + 12, packet->tuple.source.bytes + 12, 4);
	}
	pseudo.length_be = bpf_htonl(length);
	pseudo.protocol_be = bpf_htonl(protocol);
	sum = bpf_csum_diff(0, 0, (__be32 *)&pseudo, sizeof(pseudo), 0);
	sum = bpf_csum_diff(0, 0, bytes, length, sum);
	return weir_fold(sum);
}

/* Swaps the addresses (which leaves the header's checksum as it is) and sets the length. */
static __always_inline bool weir_turn_ip_around(struct __sk_buff *skb,
						const struct weir_packet *packet, __u32 old_length,
						__u32 payload_length)
{
	if (packet->is_v6) {
		struct weir_addr source = packet->asked.address, target = packet->tuple.source;
		__u16 length = bpf_htons(payload_length);

		return !bpf_skb_store_bytes(skb, WEIR_ETH_LENGTH + WEIR_IPV6_SOURCE_AT, &source,
					    sizeof(source), 0) &&
		       !bpf_skb_store_bytes(skb, WEIR_ETH_LENGTH + WEIR_IPV6_DESTINATION_AT,
					    &target, sizeof(target), 0) &&
		       !bpf_skb_store_bytes(skb, WEIR_ETH_LENGTH + WEIR_IPV6_LENGTH_AT, &length,
					    sizeof(length), 0);
	} else {
		__u16 before = bpf_htons(old_length);
		__u16 length = bpf_htons(packet->payload + payload_length);
		__u8 addresses[8];

		__builtin_memcpy(addresses, packet->asked.address.bytes + 12, 4);
		__builtin_memcpy(addresses + 4, packet->tuple.source.bytes + 12, 4);
		return !bpf_skb_store_bytes(skb, WEIR_ETH_LENGTH + WEIR_IPV4_SOURCE_AT, addresses,
					    sizeof(addresses), 0) &&
		       !bpf_l3_csum_replace(skb, WEIR_ETH_LENGTH + WEIR_IPV4_CHECKSUM_AT, before,
					    length, 2) &&
		       !bpf_skb_store_bytes(skb, WEIR_ETH_LENGTH + WEIR_IPV4_LENGTH_AT, &length,
					    sizeof(length), 0);
	}
}

struct weir_tcp_header {
	__u16 source_be, destination_be;
	__u32 sequence_be, acknowledged_be;
	__u8 words;
	__u8 flags;
	__u16 window_be;
	__u16 checksum;
	__u16 urgent_be;
};

/* Answers a segment that is no RST with one (RFC 9293 §3.10.7.1); of one without ACK, a SYN is
 * taken for granted. False: not done. */
__noinline int weir_make_reset(struct __sk_buff *skb, const struct weir_packet *packet)
{
	struct weir_tcp_header header = {};
	__u32 numbers_be[2], old_length = 0; /* its sequence number, and what it acknowledges */
	__u16 length_be;

	if (!packet)
		return 0;
	if (!weir_load(skb, packet->payload + 4, numbers_be, sizeof(numbers_be)))
		return 0;
	if (!packet->is_v6) {
		if (!weir_load(skb, WEIR_IPV4_LENGTH_AT, &length_be, sizeof(length_be)))
			return 0;
		old_length = bpf_ntohs(length_be);
	}
	if (bpf_skb_change_tail(skb, WEIR_ETH_LENGTH + packet->payload + sizeof(header), 0))
		return 0;
	header.source_be = packet->asked.port_be;
	header.destination_be = packet->tuple.source_port_be;
	header.words = 5 << 4;
	header.flags = WEIR_TCP_RST;
	if (packet->tcp_flags & WEIR_TCP_ACK) {
		header.sequence_be = numbers_be[1];
	} else {
		header.flags |= WEIR_TCP_ACK;
		header.acknowledged_be = bpf_htonl(bpf_ntohl(numbers_be[0]) + 1);
	}
	header.checksum = weir_checksum(packet, WEIR_PROTO_TCP, &header, sizeof(header));
	return !bpf_skb_store_bytes(skb, WEIR_ETH_LENGTH + packet->payload, &header, sizeof(header),
				    0) &&
	       weir_turn_ip_around(skb, packet, old_length, sizeof(header));
}

/* The start of the packet, as an ICMP error has to quote it: header and 8 bytes. */
#define WEIR_QUOTED_V4 28
#define WEIR_QUOTED_V6 48

struct weir_icmp_v4 {
	struct weir_ipv4_header ip;
	__u8 type, code;
	__u16 checksum;
	__u32 unused;
};

/* Answers a datagram with "port unreachable" (RFC 792, RFC 4443 §3.1). False: not done. */
__noinline int weir_make_unreachable_v4(struct __sk_buff *skb, const struct weir_packet *packet)
{
	struct weir_icmp_v4 header = {};
	__u8 quoted[WEIR_QUOTED_V4];
	__s64 sum;

	if (!packet || packet->payload != sizeof(struct weir_ipv4_header))
		return 0;
	if (bpf_skb_change_tail(skb, WEIR_ETH_LENGTH + sizeof(quoted), 0) ||
	    bpf_skb_adjust_room(skb, sizeof(header), BPF_ADJ_ROOM_MAC, 0) ||
	    bpf_skb_load_bytes(skb, WEIR_ETH_LENGTH + sizeof(header), quoted, sizeof(quoted)))
		return 0;
	header.ip.version_length = 0x45;
	header.ip.total_length_be = bpf_htons(sizeof(header) + sizeof(quoted));
	header.ip.ttl = 64;
	header.ip.protocol = WEIR_PROTO_ICMP;
	header.ip.source_be = weir_word(&packet->asked.address, 3);
	header.ip.destination_be = weir_word(&packet->tuple.source, 3);
	sum = bpf_csum_diff(0, 0, (__be32 *)&header, sizeof(header.ip), 0);
	header.ip.checksum = weir_fold(sum);
	header.type = 3;
	header.code = 3;
	sum = bpf_csum_diff(0, 0, (__be32 *)&header.type, 8, 0);
	sum = bpf_csum_diff(0, 0, (__be32 *)quoted, sizeof(quoted), sum);
	header.checksum = weir_fold(sum);
	return !bpf_skb_store_bytes(skb, WEIR_ETH_LENGTH, &header, sizeof(header), 0);
}

struct weir_icmp_v6 {
	struct weir_ipv6_header ip;
	__u8 type, code;
	__u16 checksum;
	__u32 unused;
};

__noinline int weir_make_unreachable_v6(struct __sk_buff *skb, const struct weir_packet *packet)
{
	struct weir_icmp_v6 header = {};
	__u8 message[8 + WEIR_QUOTED_V6];

	if (!packet || packet->payload != sizeof(struct weir_ipv6_header))
		return 0;
	if (bpf_skb_change_tail(skb, WEIR_ETH_LENGTH + WEIR_QUOTED_V6, 0) ||
	    bpf_skb_adjust_room(skb, sizeof(header), BPF_ADJ_ROOM_MAC, 0) ||
	    bpf_skb_load_bytes(skb, WEIR_ETH_LENGTH + sizeof(header), message + 8, WEIR_QUOTED_V6))
		return 0;
	header.ip.version_be = bpf_htonl(0x60000000);
	header.ip.payload_length_be = bpf_htons(sizeof(message));
	header.ip.next_header = WEIR_PROTO_ICMPV6;
	header.ip.hop_limit = 64;
	header.ip.source = packet->asked.address;
	header.ip.destination = packet->tuple.source;
	header.type = 1;
	header.code = 4;
	__builtin_memset(message, 0, 8);
	message[0] = header.type;
	message[1] = header.code;
	header.checksum = weir_checksum(packet, WEIR_PROTO_ICMPV6, message, sizeof(message));
	return !bpf_skb_store_bytes(skb, WEIR_ETH_LENGTH, &header, sizeof(header), 0);
}

#endif
