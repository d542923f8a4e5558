// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"net/netip"
	"slices"
	"strings"
)

// hostOf returns the host of an http or https URL template, in lower case,
// without port, brackets and final dot; empty if there is none.
func hostOf(rawURL string) string {
	_, rest, ok := strings.Cut(rawURL, "://")
	if !ok {
		return ""
	}
	if i := strings.IndexAny(rest, "/?#{"); i >= 0 {
		rest = rest[:i]
	}
	host := rest
	if strings.HasPrefix(rest, "[") {
		host, _, _ = strings.Cut(rest[1:], "]")
	} else if i := strings.LastIndexByte(rest, ':'); i >= 0 {
		host = rest[:i]
	}
	return strings.TrimSuffix(strings.ToLower(host), ".")
}

// ClusterHost reports whether a host is a name in the cluster:
// <service>.<namespace>.svc, alone or below a cluster domain, with further
// labels before it for a pod of a headless Service.
func ClusterHost(host string) bool {
	labels := strings.Split(strings.TrimSuffix(strings.ToLower(host), "."), ".")
	return len(labels) > 2 && slices.Contains(labels[2:], "svc") && !slices.Contains(labels, "")
}

// DefaultNetwork returns the network of a host whose backend names none:
// NetworkCluster for a name in the cluster (see ClusterHost), else
// NetworkPublic.
func DefaultNetwork(host string) string {
	if ClusterHost(host) {
		return NetworkCluster
	}
	return NetworkPublic
}

// metadataAddresses are services of clouds that hand out credentials or
// configuration and are not link-local: AWS (IPv6), Alibaba, Azure, Oracle.
var metadataAddresses = []netip.Addr{
	netip.MustParseAddr("fd00:ec2::254"),
	netip.MustParseAddr("100.100.100.200"),
	netip.MustParseAddr("168.63.129.16"),
	netip.MustParseAddr("192.0.0.192"),
}

// nat64 and sixToFour are prefixes that carry an IPv4 address.
var (
	nat64     = netip.MustParsePrefix("64:ff9b::/96")
	sixToFour = netip.MustParsePrefix("2002::/16")
	zeroNet   = netip.MustParsePrefix("0.0.0.0/8")
)

// embedded returns the IPv4 address inside of a mapped, NAT64 or 6to4 one.
func embedded(ip netip.Addr) netip.Addr {
	ip = ip.Unmap().WithZone("")
	b := ip.As16()
	switch {
	case nat64.Contains(ip):
		return netip.AddrFrom4([4]byte(b[12:16]))
	case sixToFour.Contains(ip):
		return netip.AddrFrom4([4]byte(b[2:6]))
	default:
		return ip
	}
}

// forbiddenAddress says what an address is that no backend may have; empty if
// it may.
func forbiddenAddress(ip netip.Addr) string {
	ip = embedded(ip)
	switch {
	case ip.IsLoopback():
		return loopback
	case ip.IsUnspecified(), ip.Is4() && zeroNet.Contains(ip):
		return "an unspecified address"
	case slices.Contains(metadataAddresses, ip), ip.String() == "169.254.169.254":
		return "a metadata service of a cloud"
	case ip.IsLinkLocalUnicast():
		return "a link-local address"
	case ip.IsMulticast(), ip.String() == "255.255.255.255":
		return "a multicast or broadcast address"
	default:
		return ""
	}
}

const loopback = "this machine (loopback)"

// forbiddenHost says what a host is that no backend may be; empty if it may.
// An address in another notation than the usual one, such as 0x7f.1 or
// 2130706433, is refused too: resolvers disagree on what it means.
func forbiddenHost(host string) string {
	if ip, err := netip.ParseAddr(host); err == nil {
		return forbiddenAddress(ip)
	}
	labels := strings.Split(host, ".")
	last := labels[len(labels)-1]
	switch {
	case last == "localhost":
		return loopback
	case isNumber(last):
		return "an address in an unusual notation"
	case labels[0] == "kubernetes" && (len(labels) == 1 || labels[1] == "default"):
		return "the Kubernetes API server"
	case host == "metadata", host == "metadata.google.internal", host == "metadata.goog",
		host == "instance-data", host == "instance-data.ec2.internal":
		return "a metadata service of a cloud"
	default:
		return ""
	}
}

// isNumber follows the URL standard's "ends in a number".
func isNumber(label string) bool {
	if label == "" {
		return false
	}
	if rest, ok := strings.CutPrefix(label, "0x"); ok {
		return strings.Trim(rest, "0123456789abcdef") == ""
	}
	return strings.Trim(label, "0123456789") == ""
}

// host judges where a backend is. network is the effective one.
func (c *checker) host(path, host, network string, declared bool) {
	if what := forbiddenHost(host); what != "" {
		if what != loopback || !c.opts.AllowLoopback {
			c.fail(path+".url", ruleAddress, host, what)
		}
		return
	}
	switch network {
	case NetworkCluster:
		if !ClusterHost(host) {
			c.fail(path+".network", ruleNetworkCluster, host)
		}
	case NetworkPublic:
		field := ".url"
		if declared {
			field = ".network"
		}
		ip, err := netip.ParseAddr(host)
		if err == nil && private(ip) {
			c.fail(path+field, ruleNetworkPrivate, host)
		} else if err != nil && !strings.Contains(host, ".") && !c.opts.AllowLoopback {
			c.fail(path+".url", ruleNetworkShort, host)
		}
	}
}

func private(ip netip.Addr) bool {
	ip = embedded(ip)
	return ip.IsPrivate() || sharedSpace.Contains(ip)
}

// sharedSpace is carrier-grade NAT (RFC 6598), which clusters use for pods.
var sharedSpace = netip.MustParsePrefix("100.64.0.0/10")
