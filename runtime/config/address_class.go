// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import "net/netip"

// AddressClass says which backends may have an address.
type AddressClass int

const (
	// AddressNever is for addresses that no backend may have. It is the zero
	// value, so that what nobody classified is refused.
	AddressNever AddressClass = iota
	// AddressLoopback is for backends of a server at a terminal, see
	// CompileOptions.AllowLoopback.
	AddressLoopback
	// AddressPrivate is for backends of NetworkCluster and NetworkPrivate.
	AddressPrivate
	// AddressPublic is for backends of every network.
	AddressPublic
)

// What addresses are, as parts of messages.
const (
	whatLoopback      = "this machine (loopback)"
	whatUnspecified   = "an unspecified address"
	whatMetadata      = "a metadata service of a cloud"
	whatLinkLocal     = "a link-local address"
	whatMulticast     = "a multicast or broadcast address"
	whatReserved      = "a reserved address"
	whatDocumentation = "an address for documentation"
	whatBenchmark     = "an address for benchmarks"
	whatAnycast       = "an address of a service of the internet itself (AS112, AMT or 6to4 relays)"
	whatEmbedded      = "an IPv6 form of an IPv4 address"
	whatPrivate       = "a private address"
)

// addressRange is what the addresses of a prefix are.
type addressRange struct {
	prefix netip.Prefix
	class  AddressClass
	what   string
	// embeds is the offset in bytes of the IPv4 address inside; zero for none,
	// or for one that cannot be read without knowing more.
	embeds int
}

// addressRanges are ordered: the first one that holds an address counts.
var addressRanges = []addressRange{
	rangeOf("127.0.0.0/8", AddressLoopback, whatLoopback), // RFC 1122, section 3.2.1.3
	rangeOf("::1/128", AddressLoopback, whatLoopback),     // RFC 4291, section 2.5.3

	// Services of clouds that hand out credentials or configuration.
	rangeOf("169.254.169.254/32", AddressNever, whatMetadata), // most clouds
	rangeOf("100.100.100.200/32", AddressNever, whatMetadata), // Alibaba, inside the shared range
	rangeOf("168.63.129.16/32", AddressNever, whatMetadata),   // Azure, at a public address
	rangeOf("192.0.0.192/32", AddressNever, whatMetadata),     // Oracle
	rangeOf("fd00:ec2::/32", AddressNever, whatMetadata),      // AWS: fd00:ec2::254
	rangeOf("fd20:ce::254/128", AddressNever, whatMetadata),   // Google
	rangeOf("fd00:c1::/32", AddressNever, whatMetadata),       // Oracle: fd00:c1::a9fe:a9fe

	rangeOf("0.0.0.0/8", AddressNever, whatUnspecified),         // RFC 791, section 3.2
	rangeOf("169.254.0.0/16", AddressNever, whatLinkLocal),      // RFC 3927
	rangeOf("192.0.0.0/24", AddressNever, whatReserved),         // RFC 6890, section 2.1
	rangeOf("192.0.2.0/24", AddressNever, whatDocumentation),    // RFC 5737
	rangeOf("198.51.100.0/24", AddressNever, whatDocumentation), // RFC 5737
	rangeOf("203.0.113.0/24", AddressNever, whatDocumentation),  // RFC 5737
	rangeOf("198.18.0.0/15", AddressNever, whatBenchmark),       // RFC 2544
	rangeOf("192.31.196.0/24", AddressNever, whatAnycast),       // RFC 7535
	rangeOf("192.52.193.0/24", AddressNever, whatAnycast),       // RFC 7450
	rangeOf("192.88.99.0/24", AddressNever, whatAnycast),        // RFC 7526
	rangeOf("192.175.48.0/24", AddressNever, whatAnycast),       // RFC 7534
	rangeOf("224.0.0.0/4", AddressNever, whatMulticast),         // RFC 5771
	rangeOf("255.255.255.255/32", AddressNever, whatMulticast),  // RFC 919
	rangeOf("240.0.0.0/4", AddressNever, whatReserved),          // RFC 1112, section 4
	rangeOf("10.0.0.0/8", AddressPrivate, whatPrivate),          // RFC 1918
	rangeOf("172.16.0.0/12", AddressPrivate, whatPrivate),       // RFC 1918
	rangeOf("192.168.0.0/16", AddressPrivate, whatPrivate),      // RFC 1918
	rangeOf("100.64.0.0/10", AddressPrivate, whatPrivate),       // RFC 6598, which some clouds give to pods
	rangeOf("0.0.0.0/0", AddressPublic, ""),                     // all other of IPv4

	rangeOf("::/128", AddressNever, whatUnspecified),           // RFC 4291, section 2.5.2
	embedding("::/96", 12),                                     // IPv4-compatible: RFC 4291, section 2.5.5.1
	embedding("::ffff:0:0/96", 12),                             // IPv4-mapped: RFC 4291, section 2.5.5.2
	embedding("::ffff:0:0:0/96", 12),                           // IPv4-translated: RFC 2765
	embedding("64:ff9b::/96", 12),                              // NAT64: RFC 6052
	embedding("64:ff9b:1::/48", 0),                             // local NAT64: RFC 8215
	embedding("2001::/32", 0),                                  // Teredo: RFC 4380
	embedding("2002::/16", 2),                                  // 6to4: RFC 3056
	rangeOf("fe80::/10", AddressNever, whatLinkLocal),          // RFC 4291, section 2.5.6
	rangeOf("fec0::/10", AddressNever, "a site-local address"), // RFC 3879
	rangeOf("ff00::/8", AddressNever, whatMulticast),           // RFC 4291, section 2.7
	rangeOf("2001::/23", AddressNever, whatReserved),           // RFC 2928
	rangeOf("2001:db8::/32", AddressNever, whatDocumentation),  // RFC 3849
	rangeOf("3fff::/20", AddressNever, whatDocumentation),      // RFC 9637
	rangeOf("2620:4f:8000::/48", AddressNever, whatAnycast),    // RFC 7534
	rangeOf("fc00::/7", AddressPrivate, whatPrivate),           // RFC 4193
	rangeOf("2000::/3", AddressPublic, ""),                     // RFC 4291, section 2.4: all that is given out
	rangeOf("::/0", AddressNever, whatReserved),                // RFC 4291, section 2.4
}

func rangeOf(prefix string, class AddressClass, what string) addressRange {
	return addressRange{prefix: netip.MustParsePrefix(prefix), class: class, what: what}
}

// embedding returns a range that is refused whatever it embeds: the kernel or
// a gateway would reach the IPv4 address, in a notation that reviewers and
// firewalls overlook.
func embedding(prefix string, at int) addressRange {
	return addressRange{prefix: netip.MustParsePrefix(prefix), what: whatEmbedded, embeds: at}
}

// ClassifyAddress returns who may have an address, and what it is, for
// messages: "a link-local address", empty for AddressPublic. It is the one
// definition for literal hosts, judged at compilation, and for what names
// resolve to, judged at each dial.
//
// Never permitted is what the IANA special-purpose address registries
// (RFC 6890) do not make globally reachable, except for the private ranges of
// RFC 1918, RFC 4193 and RFC 6598 and for loopback (RFC 1122, RFC 4291);
// the few anycast services of those registries; multicast (RFC 5771,
// RFC 4291); IPv6 outside of 2000::/3; metadata services of clouds; and every
// IPv6 form of an IPv4 address, public or not: compatible and mapped
// (RFC 4291), translated (RFC 2765), NAT64 (RFC 6052, RFC 8215), Teredo
// (RFC 4380) and 6to4 (RFC 3056). An address with a zone (RFC 4007) is never
// permitted either, nor is the zero netip.Addr.
func ClassifyAddress(ip netip.Addr) (class AddressClass, what string) {
	switch {
	case !ip.IsValid():
		return AddressNever, "no address"
	case ip.Zone() != "":
		// No prefix contains an address with a zone.
		return AddressNever, "an address with a zone"
	}
	for _, r := range addressRanges {
		if !r.prefix.Contains(ip) {
			continue
		}
		if r.embeds > 0 {
			b := ip.As16()
			inner, text := ClassifyAddress(netip.AddrFrom4([4]byte(b[r.embeds:])))
			if inner == AddressNever || inner == AddressLoopback {
				return r.class, text
			}
		}
		return r.class, r.what
	}
	return AddressNever, whatReserved
}
