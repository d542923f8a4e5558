// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"net/netip"
	"slices"
	"testing"

	"code.dny.dev/ssrf"
)

func TestClassifyAddress(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, addr string
		want       AddressClass
		what       string
	}{
		{name: "public", addr: "93.184.216.34", want: AddressPublic},
		{name: "public IPv6", addr: "2606:2800:220:1::1", want: AddressPublic},
		{name: "private", addr: "172.31.255.255", want: AddressPrivate, what: whatPrivate},
		{name: "beyond private", addr: "172.32.0.0", want: AddressPublic},
		{name: "shared", addr: "100.127.255.255", want: AddressPrivate, what: whatPrivate},
		{name: "unique local", addr: "fd12:3456::1", want: AddressPrivate, what: whatPrivate},
		{name: "loopback", addr: "127.8.9.1", want: AddressLoopback, what: whatLoopback},
		{name: "loopback IPv6", addr: "::1", want: AddressLoopback, what: whatLoopback},
		{name: "unspecified", addr: "0.0.0.0", what: whatUnspecified},
		{name: "unspecified IPv6", addr: "::", what: whatUnspecified},
		{name: "metadata in a private range", addr: "fd00:ec2::254", what: whatMetadata},
		{name: "metadata in the shared range", addr: "100.100.100.200", what: whatMetadata},
		{name: "metadata in a link-local range", addr: "169.254.169.254", what: whatMetadata},
		{name: "link-local", addr: "169.254.1.1", what: whatLinkLocal},
		{name: "broadcast", addr: "255.255.255.255", what: whatMulticast},
		{name: "reserved", addr: "240.0.0.1", what: whatReserved},
		{name: "reserved IPv6", addr: "4000::1", what: whatReserved},
		{name: "benchmarks", addr: "198.19.255.255", what: whatBenchmark},
		{name: "6to4 relays", addr: "192.88.99.1", what: whatAnycast},
		{name: "mapped loopback is no loopback", addr: "::ffff:127.0.0.1", what: whatLoopback},
		{name: "mapped private", addr: "::ffff:10.0.0.1", what: whatEmbedded},
		{name: "compatible loopback", addr: "::127.0.0.1", what: whatLoopback},
		{name: "translated metadata", addr: "::ffff:0:169.254.169.254", what: whatMetadata},
		{name: "NAT64 of metadata", addr: "64:ff9b::a9fe:a9fe", what: whatMetadata},
		{name: "NAT64 of public", addr: "64:ff9b::808:808", what: whatEmbedded},
		{name: "local NAT64", addr: "64:ff9b:1::808:808", what: whatEmbedded},
		{name: "Teredo", addr: "2001::808:808", what: whatEmbedded},
		{name: "6to4 of loopback", addr: "2002:7f00:1::1", what: whatLoopback},
		{name: "6to4 of public", addr: "2002:808:808::1", what: whatEmbedded},
		{name: "zone", addr: "fd12:3456::1%lo", what: "an address with a zone"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got, what := ClassifyAddress(netip.MustParseAddr(tt.addr)); got != tt.want || what != tt.what {
				t.Errorf("ClassifyAddress(%s) = %d, %q, want %d, %q", tt.addr, got, what, tt.want, tt.what)
			}
		})
	}
	if got, _ := ClassifyAddress(netip.Addr{}); got != AddressNever {
		t.Errorf("ClassifyAddress of the zero address = %d", got)
	}
}

// TestClassifyAddressRegistries compares with a list that is generated from the
// registries of IANA: an update of it that brings a range which is public here
// fails.
func TestClassifyAddressRegistries(t *testing.T) {
	t.Parallel()
	oracle := ssrf.New()
	var addrs []netip.Addr
	for _, p := range slices.Concat(ssrf.IPv4DeniedPrefixes, ssrf.IPv6DeniedPrefixes, []netip.Prefix{ssrf.IPv6GlobalUnicast}) {
		addrs = append(addrs, bounds(p)...)
	}
	for _, r := range addressRanges {
		addrs = append(addrs, bounds(r.prefix)...)
	}
	for _, addr := range addrs {
		class, what := ClassifyAddress(addr)
		if refused := oracle.SafeAddr(addr); refused != nil && class == AddressPublic {
			t.Errorf("%s is public: %v", addr, refused)
		} else if refused == nil && class != AddressPublic && what != whatMetadata {
			t.Errorf("%s is %s, but no registry says so", addr, what)
		}
	}
}

// bounds returns the first and the last address of a range and the neighbours
// outside.
func bounds(p netip.Prefix) []netip.Addr {
	first := p.Masked().Addr()
	b := first.AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	last, _ := netip.AddrFromSlice(b)
	return slices.DeleteFunc([]netip.Addr{first.Prev(), first, last, last.Next()}, func(a netip.Addr) bool { return !a.IsValid() })
}
