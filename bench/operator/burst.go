// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/flowcontrol"
	"sigs.k8s.io/controller-runtime/pkg/client"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
)

// named finds the server that a path is about.
var named = regexp.MustCompile(`/(s\d{5})(?:-mcp|/|$)`)

// burst creates servers at once, with the nodes held, and returns how long it
// took until all children of all of them were applied and every status said so.
func (b *bench) burst(namespace string, first, servers int) (time.Duration, error) {
	release := b.nodes.hold()
	defer release()
	all := b.await(namespace, servers, applied)
	begin := time.Now()
	if err := b.create(namespace, first, first+servers); err != nil {
		return 0, err
	}
	last, err := b.wait(all)
	return last.Sub(begin), err
}

// oldDefaults runs a burst with an operator as kubebuilder's projects had it, and
// returns how many servers it does in a second. Its burst of 30 requests is spent
// on others before, since it is nothing that lasts.
func (b *bench) oldDefaults(namespace string, servers int) (float64, error) {
	op, err := b.startOperator(oldWorkers, flowcontrol.NewTokenBucketRateLimiter(oldQPS, oldBurst))
	if err != nil {
		return 0, err
	}
	const warm = 3
	_, err = b.burst(namespace, 0, warm)
	var took time.Duration
	if err == nil {
		took, err = b.burstMore(namespace, warm, servers)
	}
	return float64(servers) / took.Seconds(), errors.Join(err, op.stop())
}

// burstMore is a burst in a namespace that has servers already.
func (b *bench) burstMore(namespace string, existing, more int) (time.Duration, error) {
	all := b.await(namespace, existing+more, applied)
	begin := time.Now()
	if err := b.create(namespace, existing, existing+more); err != nil {
		return 0, err
	}
	last, err := b.wait(all)
	return last.Sub(begin), err
}

// replay sends what an operator wrote in one namespace again, to servers of the
// same names in another, byte for byte but for the namespace and the uids, with
// as many workers as the operator had. Nothing thinks in between: it is the least
// time in which the same objects can be written.
func (b *bench) replay(kept []request, from, to string, servers int) (time.Duration, error) {
	if err := b.create(to, 0, servers); err != nil {
		return 0, err
	}
	uids, err := b.uids(from, to)
	if err != nil {
		return 0, err
	}
	groups := map[string][]request{}
	for _, r := range kept {
		if name := named.FindStringSubmatch(r.path); name != nil {
			groups[name[1]] = append(groups[name[1]], r)
		}
	}
	if len(groups) != servers {
		return 0, fmt.Errorf("kept the requests of %d servers, want %d", len(groups), servers)
	}
	web, err := rest.HTTPClientFor(b.api.Config)
	if err != nil {
		return 0, fmt.Errorf("failed to make a client: %w", err)
	}
	begin := time.Now()
	err = b.each(0, servers, workers, func(i int) error {
		name := serverName(i)
		swap := strings.NewReplacer(from, to, uids[name][0], uids[name][1])
		for _, r := range groups[name] {
			if err := b.send(web, r, swap); err != nil {
				return err
			}
		}
		return nil
	})
	return time.Since(begin), err
}

// uids returns for each server's name its uid in one namespace and the other.
func (b *bench) uids(namespaces ...string) (map[string][2]string, error) {
	found := map[string][2]string{}
	for i, namespace := range namespaces {
		var servers fairleadv1alpha1.MCPServerList
		if err := b.admin.List(b.ctx, &servers, client.InNamespace(namespace)); err != nil {
			return nil, fmt.Errorf("failed to list MCPServers: %w", err)
		}
		for k := range servers.Items {
			pair := found[servers.Items[k].Name]
			pair[i] = string(servers.Items[k].UID)
			found[servers.Items[k].Name] = pair
		}
	}
	return found, nil
}

// send sends one request as it was sent before, with some words replaced.
func (b *bench) send(web *http.Client, r request, swap *strings.Replacer) error {
	url := strings.TrimSuffix(b.api.Config.Host, "/") + swap.Replace(r.path) + "?" + r.query
	if !strings.Contains(url, "://") {
		url = "https://" + url
	}
	req, err := http.NewRequestWithContext(b.ctx, r.method, url, bytes.NewReader([]byte(swap.Replace(string(r.body)))))
	if err != nil {
		return fmt.Errorf("failed to make a request: %w", err)
	}
	req.Header.Set("Content-Type", r.contentType)
	req.Header.Set("Accept", "application/json")
	resp, err := web.Do(req)
	if err != nil {
		return fmt.Errorf("failed to send a request: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("%s %s: %s: %s %w", r.method, r.path, resp.Status, body[:min(len(body), 300)], err)
	}
	return nil
}
