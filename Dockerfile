# Copyright The Fairlead Authors.
# SPDX-License-Identifier: Apache-2.0

# One file, two images:
#   docker build --target operator -t fairlead-operator .
#   docker build --target runtime  -t fairlead-runtime  .
# `make images` builds the same two without Docker; hack/images/images.json says what both must agree on, and a test compares them.

ARG GO_VERSION=1.26

# Runs on the builder's own platform and cross-compiles: no emulation for other architectures.
FROM --platform=$BUILDPLATFORM golang:${GO_VERSION} AS source
WORKDIR /src
ENV CGO_ENABLED=0
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .

FROM source AS build-operator
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=dev
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    GOOS=${TARGETOS} GOARCH=${TARGETARCH} \
    go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=${VERSION}" -o /out/fairlead-operator .

FROM source AS build-runtime
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=dev
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    GOOS=${TARGETOS} GOARCH=${TARGETARCH} \
    go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=${VERSION}" -o /out/fairlead-runtime ./runtime

# No shell, no package manager, no file that is ever written: a read-only root works. The user is a number, so that
# runAsNonRoot can be checked without a user database.
FROM scratch AS operator
ARG VERSION=dev
LABEL org.opencontainers.image.title="fairlead-operator" \
      org.opencontainers.image.description="The Kubernetes operator for MCP servers whose streams must not break" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.vendor="The Fairlead Authors" \
      org.opencontainers.image.version="${VERSION}"
COPY --from=source /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build-operator /out/fairlead-operator /fairlead-operator
USER 65532:65532
EXPOSE 8081/tcp 8443/tcp
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s --retries=3 CMD ["/fairlead-operator", "healthcheck"]
ENTRYPOINT ["/fairlead-operator"]

FROM scratch AS runtime
ARG VERSION=dev
LABEL org.opencontainers.image.title="fairlead-runtime" \
      org.opencontainers.image.description="The MCP server that Fairlead runs for each MCPServer" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.vendor="The Fairlead Authors" \
      org.opencontainers.image.version="${VERSION}"
COPY --from=source /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build-runtime /out/fairlead-runtime /fairlead-runtime
USER 65532:65532
EXPOSE 8080/tcp 8081/tcp
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s --retries=3 CMD ["/fairlead-runtime", "healthcheck"]
ENTRYPOINT ["/fairlead-runtime"]
CMD ["serve", "--config", "/etc/fairlead/server/server.yaml"]
