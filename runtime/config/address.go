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

// classifyHost is ClassifyAddress for a host. A name is public as long as
// nothing speaks against it: the dial judges what it resolves to.
// An address in another notation than the usual one, such as 0x7f.1 or
// 2130706433, is refused: resolvers disagree on what it means.
func classifyHost(host string) (class AddressClass, what string) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ClassifyAddress(ip)
	}
	labels := strings.Split(host, ".")
	last := labels[len(labels)-1]
	switch {
	case last == "localhost":
		return AddressLoopback, whatLoopback
	case isNumber(last):
		return AddressNever, "an address in an unusual notation"
	case labels[0] == "kubernetes" && (len(labels) == 1 || labels[1] == "default"):
		return AddressNever, "the Kubernetes API server"
	case host == "metadata", host == "metadata.google.internal", host == "metadata.goog",
		host == "instance-data", host == "instance-data.ec2.internal":
		return AddressNever, whatMetadata
	default:
		return AddressPublic, ""
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
	class, what := classifyHost(host)
	if class == AddressNever || class == AddressLoopback {
		if class == AddressNever || !c.opts.AllowLoopback {
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
		if class == AddressPrivate {
			c.fail(path+field, ruleNetworkPrivate, host)
		} else if !strings.ContainsAny(host, ".:") && !c.opts.AllowLoopback {
			c.fail(path+".url", ruleNetworkShort, host)
		}
	}
}
