# The command fastrec in a slim image, run by a user without rights:
# docker build -t fastrec . && docker run --rm fastrec capacity --sizes 10,100
FROM python:3.13-slim AS build
WORKDIR /src
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.13-slim
COPY --from=build /wheels /wheels
RUN pip install --no-cache-dir /wheels/*.whl && useradd --create-home --uid 1000 fastrec
USER 1000
WORKDIR /home/fastrec
# Kernels are compiled at the first start, for the CPU that they run on: a volume at this folder keeps them.
ENV FASTREC_CACHE_DIR=/home/fastrec/kernels
ENTRYPOINT ["fastrec"]
CMD ["--help"]
