/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0)
 *
 * A packet's headers as values. Reads relative to the network header, so that it is the same with
 * and without Ethernet and however VLAN tags travel; every read is bounded by the helper. What is
 * cut short or not understood gets a reason and is the caller's to drop: the addresses are then
 * filled in as far as they could be read.
 *
 * Sources: RFC 791, RFC 8200 §4 (extension headers), RFC 792 and 4443 (ICMP errors quote the packet
 * that they are about).
 */
#ifndef WEIR_PARSE_H
#define WEIR_PARSE_H

#include "redirect-bpf/bpf/decide.h"

#define WEIR_ETH_IP 0x0800
#define WEIR_ETH_IPV6 0x86dd
/* Frames that hold an IP packet which this program would not see. */
#define WEIR_ETH_8021Q 0x8100
#define WEIR_ETH_8021AD 0x88a8
#define WEIR_ETH_MPLS 0x8847
#define WEIR_ETH_MPLS_MULTICAST 0x8848
#define WEIR_ETH_PPPOE 0x8864

/* Hosts send at most one of each kind (RFC 8200 §4.1); more is no honest packet. */
#define WEIR_MAX_EXTENSIONS 6
#define WEIR_MAX_IPV4_OPTIONS 40 /* bytes, each of which may be one */
#define WEIR_TCP_FLAGS_AT 13

struct weir_packet {
	/* As policy and flows know it: of a packet to a service, the destination is its backend. */
	struct weir_tuple tuple;
	struct weir_backend asked; /* the destination on the wire */
	__u32 payload;		   /* offset of the transport header from the network header */
	__u16 policy_port_be;	   /* what policy rows call the port */
	__u8 is_v6;
	__u8 reason; /* WEIR_DROP_*: why it cannot be judged; NONE when it can */
	__u8 has_addresses;
	__u8 hop_limit;
	__u8 tcp_flags;
	__u8 icmp_type;
	__u8 icmp_role; /* enum weir_icmp_role; OTHER for other protocols */
	__u8 is_icmp;
	__u8 pad[2];
};

struct weir_ipv4_header {
	__u8 version_length;
	__u8 tos;
	__u16 total_length_be;
	__u16 id_be;
	__u16 fragment_be;
	__u8 ttl;
	__u8 protocol;
	__u16 checksum;
	__u32 source_be;
	__u32 destination_be;
};

struct weir_ipv6_header {
	__u32 version_be;
	__u16 payload_length_be;
	__u8 next_header;
	__u8 hop_limit;
	struct weir_addr source;
	struct weir_addr destination;
};

static __always_inline bool weir_load(struct __sk_buff *skb, __u32 offset, void *to, __u32 length)
{
	return !bpf_skb_load_bytes_relative(skb, offset, to, length, BPF_HDR_START_NET);
}

static __always_inline void weir_map_v4(struct weir_addr *to, __u32 address_be)
{
	__builtin_memset(to->bytes, 0, 10);
	to->bytes[10] = 0xff;
	to->bytes[11] = 0xff;
	__builtin_memcpy(to->bytes + 12, &address_be, 4);
}

/* A source route (RFC 791 §3.1: types 131 and 137): the destination is not where it ends up. An
 * option that is cut short ends the list, as it does for the kernel. */
static __always_inline bool weir_has_source_route(struct __sk_buff *skb, __u32 at, __u32 end)
{
	for (int i = 0; i < WEIR_MAX_IPV4_OPTIONS; i++) {
		__u8 option[2];

		if (at >= end || !weir_load(skb, at, option, 1) || option[0] == 0)
			return false;
		if (option[0] == 131 || option[0] == 137)
			return true;
		if (option[0] == 1) {
			at++;
			continue;
		}
		if (at + 1 >= end || !weir_load(skb, at, option, 2) || option[1] < 2)
			return false;
		at += option[1];
	}
	return false;
}

/* Fills addresses, protocol, hop limit; *offset moves to the transport header, *end behind the
 * packet as its header says (0: not said). Returns a WEIR_DROP_* reason. */
static __always_inline __u8 weir_parse_ipv4(struct __sk_buff *skb, struct weir_packet *packet,
					    __u32 *offset, __u32 *end)
{
	struct weir_ipv4_header header;
	__u32 length;

	if (!weir_load(skb, *offset, &header, sizeof(header)))
		return WEIR_DROP_MALFORMED;
	if (header.version_length >> 4 != 4)
		return WEIR_DROP_MALFORMED;
	weir_map_v4(&packet->tuple.source, header.source_be);
	weir_map_v4(&packet->tuple.destination, header.destination_be);
	packet->has_addresses = 1;
	packet->hop_limit = header.ttl;
	packet->tuple.protocol = header.protocol;
	length = (header.version_length & 15) * 4;
	if (length < sizeof(header))
		return WEIR_DROP_MALFORMED;
	/* 0 in packets that segmentation offload has made longer than the field can say. */
	if (header.total_length_be)
		*end = *offset + bpf_ntohs(header.total_length_be);
	if (length > sizeof(header) &&
	    weir_has_source_route(skb, *offset + sizeof(header), *offset + length))
		return WEIR_DROP_EXTENSION;
	*offset += length;
	if (header.fragment_be & bpf_htons(0x3fff)) /* more fragments, or not the first */
		return WEIR_DROP_FRAGMENT;
	return WEIR_DROP_NONE;
}

static __always_inline __u8 weir_parse_ipv6(struct __sk_buff *skb, struct weir_packet *packet,
					    __u32 *offset, __u32 *end)
{
	struct weir_ipv6_header header;
	__u32 at = *offset + sizeof(header);
	__u8 next;

	if (!weir_load(skb, *offset, &header, sizeof(header)))
		return WEIR_DROP_MALFORMED;
	if ((header.version_be & bpf_htonl(0xf0000000)) != bpf_htonl(0x60000000))
		return WEIR_DROP_MALFORMED;
	packet->tuple.source = header.source;
	packet->tuple.destination = header.destination;
	packet->has_addresses = 1;
	packet->hop_limit = header.hop_limit;
	next = header.next_header;
	/* A mapped address on the wire would pass for the IPv4 address it spells. */
	if (weir_is_v4(&header.source) || weir_is_v4(&header.destination))
		return WEIR_DROP_MALFORMED;
	/* The kernel takes a length of 0 for "long" only with a hop-by-hop header (RFC 2675). */
	if (header.payload_length_be || next != 0)
		*end = at + bpf_ntohs(header.payload_length_be);

	for (int i = 0; i <= WEIR_MAX_EXTENSIONS; i++) {
		__u8 extension[2];

		switch (next) {
		case 0:	 /* hop-by-hop options */
		case 60: /* destination options */
		case 51: /* authentication: its length counts in another unit */
			if (i == WEIR_MAX_EXTENSIONS)
				return WEIR_DROP_EXTENSION;
			if (!weir_load(skb, at, extension, sizeof(extension)))
				return WEIR_DROP_MALFORMED;
			at += next == 51 ? (extension[1] + 2u) * 4 : (extension[1] + 1u) * 8;
			next = extension[0];
			break;
		case 43: /* routing: the destination is not where it ends up */
			return WEIR_DROP_EXTENSION;
		case 44:
			return WEIR_DROP_FRAGMENT;
		default:
			packet->tuple.protocol = next;
			*offset = at;
			return WEIR_DROP_NONE;
		}
	}
	return WEIR_DROP_EXTENSION;
}

/* Ports, or what stands for them. `quoted`: the packet within an ICMP error, of which no more than
 * 8 bytes of the transport header need be there. */
static __always_inline __u8 weir_parse_transport(struct __sk_buff *skb, struct weir_packet *packet,
						 __u32 offset, __u32 end, bool quoted)
{
	__u8 protocol = packet->tuple.protocol;
	__u8 bytes[WEIR_TCP_FLAGS_AT + 1];
	__u32 needed = 0, wanted = 8;

	packet->payload = offset;
	switch (protocol) {
	case WEIR_PROTO_TCP:
		needed = 20;
		if (!quoted)
			wanted = sizeof(bytes);
		break;
	case WEIR_PROTO_SCTP:
		needed = 12;
		break;
	case WEIR_PROTO_UDP:
	case WEIR_PROTO_ICMP:
	case WEIR_PROTO_ICMPV6:
		needed = 8;
		break;
	default:
		return WEIR_DROP_NONE;
	}
	if (!quoted && end && end < offset + needed)
		return WEIR_DROP_MALFORMED;
	if (!weir_load(skb, offset, bytes, wanted))
		return WEIR_DROP_MALFORMED;
	if (protocol == WEIR_PROTO_ICMP || protocol == WEIR_PROTO_ICMPV6) {
		/* No honest packet has the other family's ICMP. */
		if ((protocol == WEIR_PROTO_ICMPV6) != packet->is_v6)
			return WEIR_DROP_MALFORMED;
		packet->is_icmp = 1;
		packet->icmp_type = bytes[0];
		packet->icmp_role = weir_icmp_role(packet->is_v6, bytes[0]);
		packet->policy_port_be = bpf_htons(bytes[0]);
		if (packet->icmp_role == WEIR_ICMP_REQUEST ||
		    packet->icmp_role == WEIR_ICMP_REPLY) {
			__builtin_memcpy(&packet->tuple.source_port_be, bytes + 4, 2);
			packet->tuple.destination_port_be = packet->tuple.source_port_be;
		}
		return WEIR_DROP_NONE;
	}
	__builtin_memcpy(&packet->tuple.source_port_be, bytes, 2);
	__builtin_memcpy(&packet->tuple.destination_port_be, bytes + 2, 2);
	packet->policy_port_be = packet->tuple.destination_port_be;
	if (protocol == WEIR_PROTO_TCP && !quoted)
		packet->tcp_flags = bytes[WEIR_TCP_FLAGS_AT];
	return WEIR_DROP_NONE;
}

/* Not static: the verifier then looks at it once and not once a caller. The same goes for every
 * other function here that is not; it is also why they check pointers that are never null. */
__noinline int weir_parse_at(struct __sk_buff *skb, struct weir_packet *packet, __u32 offset,
			     __u32 quoted)
{
	__u32 end = 0;
	__u8 reason;

	if (!packet)
		return WEIR_DROP_MALFORMED;
	reason = packet->is_v6 ? weir_parse_ipv6(skb, packet, &offset, &end)
			       : weir_parse_ipv4(skb, packet, &offset, &end);
	if (reason == WEIR_DROP_NONE)
		reason = weir_parse_transport(skb, packet, offset, end, quoted);
	packet->reason = reason;
	packet->asked.address = packet->tuple.destination;
	packet->asked.port_be = packet->tuple.destination_port_be;
	return reason;
}

/* False: not IP; *reason then says whether it may pass. */
static __always_inline bool weir_parse(struct __sk_buff *skb, struct weir_packet *packet,
				       __u8 *reason)
{
	__u16 protocol = bpf_ntohs(skb->protocol);

	*reason = WEIR_DROP_NONE;
	__builtin_memset(packet, 0, sizeof(*packet));
	switch (protocol) {
	case WEIR_ETH_IP:
		break;
	case WEIR_ETH_IPV6:
		packet->is_v6 = 1;
		break;
	case WEIR_ETH_8021Q:
	case WEIR_ETH_8021AD:
	case WEIR_ETH_MPLS:
	case WEIR_ETH_MPLS_MULTICAST:
	case WEIR_ETH_PPPOE:
		*reason = WEIR_DROP_MALFORMED;
		return false;
	default:
		return false;
	}
	weir_parse_at(skb, packet, 0, false);
	return true;
}

/* The tuple of the packet that an ICMP error quotes. */
static __always_inline bool weir_parse_quoted(struct __sk_buff *skb,
					      const struct weir_packet *packet,
					      struct weir_packet *quoted)
{
	__builtin_memset(quoted, 0, sizeof(*quoted));
	quoted->is_v6 = packet->is_v6;
	return weir_parse_at(skb, quoted, packet->payload + 8, true) == WEIR_DROP_NONE;
}

#endif
