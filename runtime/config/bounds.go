// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"regexp"
	"time"
)

// textBound bounds a string. Its lengths count characters.
type textBound struct {
	min, max int
	// form is the pattern and what a person should read about it; nil if
	// anything goes.
	form *form
	// enum lists the values; then nothing else counts.
	enum []string
}

// form is a pattern with its description.
type form struct {
	pattern *regexp.Regexp
	says    string
}

func newForm(pattern, says string) *form { return &form{regexp.MustCompile(pattern), says} }

var (
	objectForm = newForm(`^[a-z]([-a-z0-9]*[a-z0-9])?$`,
		"a name of a-z, 0-9 and '-' that begins with a letter and ends with a letter or digit")
	namespaceForm = newForm(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`,
		"a name of a-z, 0-9 and '-' that begins and ends with a letter or digit")
	toolForm   = newForm(`^[A-Za-z0-9_.-]+$`, "of A-Z, a-z, 0-9, '_', '-' and '.', such as get_order")
	secretForm = newForm(`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`,
		"a Secret's name: a-z, 0-9, '-' and '.', beginning and ending with a letter or digit")
	keyForm      = newForm(`^[-._a-zA-Z0-9]+$`, "a Secret's key: letters, digits, '-', '_' and '.'")
	tokenForm    = newForm("^[A-Za-z0-9!#$%&'*+.^_|~-]+$", "a header's name (RFC 9110 token)")
	urlForm      = newForm(`^https?://[^/?#{}@]+([/?].*)?$`, "an absolute http or https URL without user info, and without variables before the path")
	mediaForm    = newForm(`^[a-z]+/[A-Za-z0-9.+-]+$`, "a media type, such as image/png")
	base64Form   = newForm(`^[A-Za-z0-9+/]+={0,2}$`, "base64 (RFC 4648)")
	resourceForm = newForm(`^[A-Za-z][A-Za-z0-9+.-]*:.+$`, "a URI with a scheme, such as file:///readme.md")
	originForm   = newForm(`^https?://[a-z0-9.-]+(:[0-9]{1,5})?$`, "an origin in lower case: scheme://host[:port], without a path")
	hostForm     = newForm(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`, "a host name in lower case, without a port")
	pathForm     = newForm(`^/([A-Za-z0-9_.~-]+(/[A-Za-z0-9_.~-]+)*)?$`, "a path such as /orders, without a slash at its end")
)

// texts bound every string of the contract, as the API does; a test compares
// the two. An absent string is judged only if min is above 0 and the field is
// required, see checker.text.
var texts = map[string]textBound{
	"name":         {min: 1, max: 48, form: objectForm},
	"namespace":    {max: 63, form: namespaceForm},
	"uid":          {max: 64},
	"title":        {max: 128},
	"instructions": {max: 16384},

	"tools[].name":            {min: 1, max: 128, form: toolForm},
	"tools[].title":           {max: 128},
	"tools[].description":     {min: 1, max: 4096},
	"tools[].inputSchemaJSON": {max: 65536},
	"tools[].state":           {enum: []string{StateEnabled, StateDisabled}},
	"tools[].access.anyRole[]": {
		min: 1, max: 64,
	},

	"tools[].http.method":                          {enum: []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}},
	"tools[].http.url":                             {min: 8, max: 2048, form: urlForm},
	"tools[].http.query.*":                         {max: 4096},
	"tools[].http.headers.*":                       {max: 4096},
	"tools[].http.headersFrom[].name":              {min: 1, max: 128, form: tokenForm},
	"tools[].http.headersFrom[].secretKeyRef.name": {min: 1, max: 253, form: secretForm},
	"tools[].http.headersFrom[].secretKeyRef.key":  {min: 1, max: 253, form: keyForm},
	"tools[].http.headersFrom[].prefix":            {max: 64},
	"tools[].http.body":                            {enum: []string{BodyJSON, BodyNone}},
	"tools[].http.network":                         {enum: []string{NetworkCluster, NetworkPublic, NetworkPrivate}},
	"tools[].http.response.stream":                 {enum: []string{StreamSSE, StreamNDJSON}},

	"tools[].static.content[].text":              {max: 16384},
	"tools[].static.content[].image.mimeType":    {min: 3, max: 128, form: mediaForm},
	"tools[].static.content[].image.data":        {min: 4, max: 65536, form: base64Form},
	"tools[].static.content[].audio.mimeType":    {min: 3, max: 128, form: mediaForm},
	"tools[].static.content[].audio.data":        {min: 4, max: 65536, form: base64Form},
	"tools[].static.content[].resource.uri":      {min: 3, max: 2048, form: resourceForm},
	"tools[].static.content[].resource.mimeType": {max: 128},
	"tools[].static.content[].resource.text":     {max: 16384},
	"tools[].static.content[].resource.blob":     {max: 65536, form: base64Form},
	"tools[].static.outcome":                     {enum: []string{OutcomeSuccess, OutcomeError}},

	"auth.anonymousAccess":        {enum: []string{AccessDenied, AccessAllowed}},
	"auth.defaultAccess":          {enum: []string{AccessAllowed, AccessDenied}},
	"auth.apiKeys.secretRef.name": {min: 1, max: 253, form: secretForm},
	"transports.sse.mode":         {enum: []string{SSEEnabled, SSEWarn, SSEDisabled}},
	"browser.allowedOrigins[]":    {min: 8, max: 255, form: originForm},
	"exposure.hosts[]":            {min: 1, max: 253, form: hostForm},
	"exposure.path":               {max: 256, form: pathForm},
	"logging.level":               {enum: []string{LevelDebug, LevelInfo, LevelWarn, LevelError}},
}

// span bounds a number, inclusive.
type span struct{ min, max int64 }

func durations(least, most time.Duration) span { return span{int64(least), int64(most)} }

// numbers bound every number of the contract; durations count nanoseconds.
var numbers = map[string]span{
	"tools[].maxConcurrency":         {1, 10_000},
	"limits.connections.perReplica":  {1, 1_000_000},
	"limits.sessions.max":            {1, 1_000_000},
	"limits.maxRequestSize":          {1 << 10, 64 << 20},
	"limits.maxResponseSize":         {1 << 10, 64 << 20},
	"limits.maxInFlightCalls":        {1, 100_000},
	"limits.maxInFlightPerPrincipal": {1, 100_000},
	"transports.compression.minSize": {256, 1 << 20},

	"tools[].timeout":             durations(100*time.Millisecond, time.Hour),
	"limits.sessions.idleTimeout": durations(time.Second, 24*time.Hour),
	"limits.sessions.maxAge":      durations(time.Minute, 720*time.Hour),
	"transports.heartbeat":        durations(time.Second, 5*time.Minute),
	"drain.settle":                durations(time.Millisecond, 5*time.Minute),
	"drain.window":                durations(time.Second, time.Hour),
	"drain.callTimeout":           durations(time.Second, time.Hour),
}

// lengths bound every list and map of the contract.
var lengths = map[string]span{
	"tools":                    {1, 256},
	"tools[].access.anyRole":   {1, 32},
	"tools[].http.query":       {0, 64},
	"tools[].http.headers":     {0, 64},
	"tools[].http.headersFrom": {0, 16},
	"tools[].static.content":   {1, 32},
	"browser.allowedOrigins":   {0, 64},
	"exposure.hosts":           {0, 64},
}
