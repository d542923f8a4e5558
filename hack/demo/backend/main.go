// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// The demo's backend: the HTTP API of a small shop, such as many teams have one.
// It knows nothing of MCP. Every request needs the token in X-API-Token.
package main

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// maxBody bounds the body of a request, in bytes.
const maxBody = 64 << 10

func main() {
	logger := slog.New(slog.NewJSONHandler(os.Stdout, nil))
	if err := run(logger); err != nil {
		logger.Error("Failed to serve", "error", err)
		os.Exit(1)
	}
}

func run(logger *slog.Logger) error {
	token, err := readToken()
	if err != nil {
		return err
	}
	listen := os.Getenv("LISTEN")
	if listen == "" {
		listen = ":8080"
	}
	pace := 400 * time.Millisecond
	if text := os.Getenv("PACE"); text != "" {
		if pace, err = time.ParseDuration(text); err != nil {
			return fmt.Errorf("failed to read PACE: %w", err)
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	server := &http.Server{
		Addr: listen, Handler: newAPI(token, pace, logger).handler(),
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: time.Minute,
	}
	logger.Info("Serving", "address", listen)
	served := make(chan error, 1)
	go func() { served <- server.ListenAndServe() }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return server.Shutdown(leaving)
}

// readToken reads API_TOKEN, or the file that API_TOKEN_FILE names.
func readToken() (string, error) {
	if token := os.Getenv("API_TOKEN"); token != "" {
		return token, nil
	}
	file := os.Getenv("API_TOKEN_FILE")
	if file == "" {
		return "", errors.New("set API_TOKEN or API_TOKEN_FILE")
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("failed to read the token: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}

type api struct {
	token  string
	pace   time.Duration // between two steps of a stream
	logger *slog.Logger
	shop   *shop
}

func newAPI(token string, pace time.Duration, logger *slog.Logger) *api {
	return &api{token: token, pace: pace, logger: logger, shop: newShop()}
}

func (a *api) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /orders", a.list)
	mux.HandleFunc("GET /orders/{id}", a.get)
	mux.HandleFunc("POST /orders/{id}/refund", a.refund)
	mux.HandleFunc("GET /orders/{id}/events", a.events)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		if subtle.ConstantTimeCompare([]byte(r.Header.Get("X-API-Token")), []byte(a.token)) != 1 {
			refuse(w, http.StatusUnauthorized, "X-API-Token is missing or wrong")
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		mux.ServeHTTP(w, r)
		a.logger.InfoContext(r.Context(), "Answered", "method", r.Method, "path", r.URL.Path, "ms", time.Since(began).Milliseconds())
	})
}

func (a *api) list(w http.ResponseWriter, r *http.Request) {
	limit := 20
	if text := r.URL.Query().Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 100 {
			refuse(w, http.StatusBadRequest, "limit must be a number from 1 to 100")
			return
		}
		limit = n
	}
	answer(w, http.StatusOK, map[string]any{"orders": a.shop.list(r.URL.Query().Get("status"), limit)})
}

func (a *api) get(w http.ResponseWriter, r *http.Request) {
	o, err := a.shop.get(r.PathValue("id"))
	if err != nil {
		refuse(w, http.StatusNotFound, err.Error())
		return
	}
	answer(w, http.StatusOK, o)
}

func (a *api) refund(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Reason string  `json:"reason"`
		Amount float64 `json:"amount"`
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || in.Reason == "" {
		refuse(w, http.StatusBadRequest, "the body must be JSON with a reason")
		return
	}
	o, err := a.shop.refund(r.PathValue("id"), in.Reason, in.Amount)
	switch {
	case errors.Is(err, errUnknown):
		refuse(w, http.StatusNotFound, err.Error())
	case err != nil:
		refuse(w, http.StatusConflict, err.Error())
	default:
		answer(w, http.StatusOK, o)
	}
}

// step is one line of a stream. The last one names the order.
type step struct {
	Progress int    `json:"progress"`
	Total    int    `json:"total"`
	Message  string `json:"message"`
	ID       string `json:"id,omitempty"`
	Status   string `json:"status,omitempty"`
}

// events streams the steps of an order's way, one JSON object a line.
func (a *api) events(w http.ResponseWriter, r *http.Request) {
	o, err := a.shop.get(r.PathValue("id"))
	if err != nil {
		refuse(w, http.StatusNotFound, err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	controller := http.NewResponseController(w)
	encoder := json.NewEncoder(w)
	way := []string{"order received", "payment settled", "packed in the warehouse", "handed to the carrier", "out for delivery"}
	for i, message := range way {
		line := step{Progress: i + 1, Total: len(way), Message: message}
		if i == len(way)-1 {
			line.ID, line.Status = o.ID, o.Status
		}
		_ = encoder.Encode(line)
		_ = controller.Flush()
		select {
		case <-time.After(a.pace):
		case <-r.Context().Done():
			return
		}
	}
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func refuse(w http.ResponseWriter, status int, message string) {
	answer(w, status, map[string]string{"message": message})
}
