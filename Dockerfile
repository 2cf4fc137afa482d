# The worker, the dashboard and the command line. Build: docker build -t weir .   Run: docker run weir --help
FROM python:3.11.14-slim-bookworm AS build
WORKDIR /src
COPY requirements/runtime.txt requirements/web.txt requirements/dev.txt requirements/
RUN python -m venv /opt/weir \
 && /opt/weir/bin/pip install --no-cache-dir --require-hashes --no-deps -r requirements/runtime.txt -r requirements/web.txt
# What builds the project itself, with the hashes of the development lock.
RUN awk '/^[a-z]/ { wanted = /^(editables|hatchling|packaging|pathspec|pluggy|trove-classifiers)==/ } wanted' requirements/dev.txt > build.txt \
 && pip install --no-cache-dir --require-hashes --no-deps -r build.txt
COPY pyproject.toml README.md LICENSE ./
COPY domain domain
COPY features features
COPY models models
COPY monitoring monitoring
COPY simulate simulate
COPY stream stream
COPY service service
COPY web web
RUN pip wheel --no-cache-dir --no-build-isolation --no-deps --wheel-dir wheels . \
 && /opt/weir/bin/pip install --no-cache-dir --no-deps wheels/*.whl

FROM python:3.11.14-slim-bookworm
RUN useradd --uid 10001 --create-home --home-dir /home/weir weir \
 && install -d -o weir -g weir /home/weir/var
COPY --from=build /opt/weir /opt/weir
ENV PATH=/opt/weir/bin:$PATH PYTHONUNBUFFERED=1 NUMBA_CACHE_DIR=/tmp/weir-numba
USER weir
WORKDIR /home/weir
ENTRYPOINT ["weir"]
CMD ["worker"]
