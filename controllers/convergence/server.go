// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package convergence

import (
	"cmp"
	"reflect"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// quiet is the least time between two tellings of which pods lag, refuse or are
// silent: they follow each other one by one, and each telling is a status write.
const quiet = time.Second

// goal is what all pods of a server should hold.
type goal struct {
	revision, refresh string
	keyIDs            []string
}

func goalOf(t Target) goal {
	return goal{revision: t.Revision, refresh: t.Refresh, keyIDs: slices.Clone(t.KeyIDs)}
}

func (g goal) equal(other goal) bool {
	return g.revision == other.revision && g.refresh == other.refresh && slices.Equal(g.keyIDs, other.keyIDs)
}

// server is a target with what is known of its pods.
type server struct {
	name types.NamespacedName
	goal goal
	// since is when the goal was set.
	since time.Time
	// pods are sorted by name.
	pods []*pod
	// honoured is the refresh that all pods were poked for. Pods that start later
	// read Secrets that are as new.
	honoured string
	// weigh is true while the pods' deletion costs are kept, weighSince since when.
	weigh      bool
	weighSince time.Time

	report Report
	// told is the report that the reconciler knows, and toldAt since when.
	told   Report
	toldAt time.Time
}

// aim sets the goal, and makes everything due if it is a new one.
func (s *server) aim(to goal, now time.Time) {
	if s.goal.equal(to) {
		return
	}
	on := s.goal.revision != to.revision
	for _, member := range s.pods {
		// What is on its way to it may come yet, even if it serves the goal now.
		if on && !member.arrived(now) {
			member.doubtful = true
		}
	}
	s.goal, s.since = to, now
	for _, member := range s.pods {
		member.aim(now)
	}
}

// arrived says whether the pod has got the revision of the goal, and if only to
// refuse it.
func (m *pod) arrived(now time.Time) bool {
	return m.known != nil && (m.known.Revision == m.server.goal.revision || m.stands(now) == refusing)
}

// aim begins anew for another goal.
func (m *pod) aim(now time.Time) {
	m.asks, m.failures, m.failure, m.refusal = 0, 0, "", ""
	m.pokes, m.pokedAt, m.nextPoke, m.due = 0, time.Time{}, now, now
}

// meet makes the pods those that are given, and returns those that have left.
func (s *server) meet(pods []Pod, now time.Time) (left []*pod) {
	before := s.pods
	s.pods = make([]*pod, 0, len(pods))
	for _, p := range pods {
		i := slices.IndexFunc(before, func(m *pod) bool { return m.uid == p.UID })
		if i < 0 {
			member := &pod{server: s, name: p.Name, uid: p.UID, ip: p.IP, mark: p.Poked, refreshed: p.Refreshed, cost: p.Cost, index: -1}
			member.doubtful = p.Poked != "" && attempt(p.Poked, s.goal.revision) == 0
			member.aim(now)
			s.pods = append(s.pods, member)
			continue
		}
		member := before[i]
		before = slices.Delete(before, i, i+1)
		member.see(p, now)
		s.pods = append(s.pods, member)
	}
	for _, member := range before {
		member.left = true
	}
	slices.SortFunc(s.pods, func(a, b *pod) int { return strings.Compare(a.name, b.name) })
	return before
}

// see takes over what the cache says of a known pod, which may be older than
// what was done to it since.
func (m *pod) see(p Pod, now time.Time) {
	if attempt(p.Poked, m.server.goal.revision) > attempt(m.mark, m.server.goal.revision) {
		m.mark = p.Poked
	}
	if p.Refreshed == m.server.goal.refresh {
		m.refreshed = p.Refreshed
	}
	if now.Sub(m.costAt) >= weighEvery { // By then the cache has what was written.
		m.cost = p.Cost
	}
	if m.ip != p.IP {
		m.ip, m.known, m.failures, m.due = p.IP, nil, 0, now
	}
}

// intern returns an answer that shares what the goal has, since there are many
// pods.
func (s *server) intern(got answer) *answer {
	if got.Revision == s.goal.revision {
		got.Revision = s.goal.revision
	}
	if slices.Equal(got.KeyIDs, s.goal.keyIDs) && got.KeyIDs != nil {
		got.KeyIDs = s.goal.keyIDs
	}
	return &got
}

// tell notes that the reconciler gets the report now.
func (s *server) tell(now time.Time) { s.told, s.toldAt = s.report, now }

// tellLater says whether the reconciler must be told what was learnt of a pod.
// If it is too early for that, the pod is looked at again when it is not.
func (s *server) tellLater(member *pod, now time.Time) bool {
	if reflect.DeepEqual(s.told, s.report) {
		return false
	}
	same := s.told.State == s.report.State && s.told.Slow == s.report.Slow
	named := s.report.State == Lagging || s.report.State == Refused || s.report.State == Unreachable
	if soon := s.toldAt.Add(quiet); same && named && now.Before(soon) {
		member.due = earlier(member.due, soon)
		return false
	}
	s.tell(now)
	return true
}

// members returns the pods that exist.
func (s *server) members() []*pod {
	return slices.DeleteFunc(slices.Clone(s.pods), func(m *pod) bool { return m.gone })
}

// sum computes the report.
func (s *server) sum() {
	now := time.Now()
	members := s.members()
	by := map[standing][]*pod{}
	for _, member := range members {
		at := member.stands(now)
		by[at] = append(by[at], member)
	}
	report := Report{Revision: s.goal.revision, Problems: problems(members), KeyIDs: heldByAll(members), Weighed: s.weighed(members)}
	for _, member := range members {
		if at := member.stands(now); (at == lagging || at == refusing) && len(report.Lagging) < maxLagging {
			report.Lagging = append(report.Lagging, member.name)
		}
		report.Slow = report.Slow || (member.refusal != "" && member.waits())
	}
	if !slices.ContainsFunc(members, (*pod).lacksRefresh) {
		s.honoured = s.goal.refresh
		report.Refreshed = s.goal.refresh
	}
	switch {
	case len(members) == 0:
		report.State, report.Message = NoPods, "no pod is ready"
	case len(by[refusing]) > 0:
		report.State, report.Message = Refused, s.refusedMessage(members, by[refusing])
	case len(by[lagging]) > 0:
		report.State, report.Message = Lagging, s.laggingMessage(members, by[lagging])
	case len(by[unreachable]) > 0:
		report.State, report.Message = Unreachable, s.unreachableMessage(by[unreachable])
	case len(by[unheard]) > 0:
		report.State, report.Message = Pending, "the pods have not been asked yet"
	default:
		report.State = Converged
	}
	s.report = report
}

// problems returns those of all pods, each once.
func problems(members []*pod) []Problem {
	var all []Problem
	for _, member := range members {
		if member.known != nil {
			all = append(all, member.known.Problems...)
		}
	}
	slices.SortFunc(all, func(a, b Problem) int {
		return cmp.Or(strings.Compare(a.Secret, b.Secret), strings.Compare(a.Key, b.Key), strings.Compare(a.Code, b.Code), strings.Compare(a.Message, b.Message))
	})
	all = slices.Compact(all)
	return all[:min(len(all), maxProblems):min(len(all), maxProblems)]
}

// heldByAll returns the ids of keys that every pod holds which tells of keys; nil
// if one has not been heard.
func heldByAll(members []*pod) []string {
	var held []string
	first := true
	for _, member := range members {
		switch {
		case member.known == nil:
			return nil
		case member.known.KeyIDs == nil:
		case first:
			held, first = member.known.KeyIDs, false
		default:
			theirs := member.known.KeyIDs
			held = slices.DeleteFunc(slices.Clone(held), func(id string) bool { return !slices.Contains(theirs, id) })
		}
	}
	return held
}
