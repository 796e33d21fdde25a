# The clinical command, see docs/deploy.md. For the CPU or a CUDA version, --build-arg TORCH_INDEX= PyTorch's index for it.
FROM python:3.12-slim-bookworm

ARG TORCH_INDEX=""
WORKDIR /app
COPY requirements.txt .
RUN PIP_INDEX_URL="$TORCH_INDEX" pip install --no-cache-dir torch==2.13.0 \
 && pip install --no-cache-dir -r requirements.txt

# Owned by root, so that the user below can read and not write.
COPY LICENSE metadata.json ./
COPY configs configs
COPY scripts scripts
RUN useradd --uid 10001 --no-create-home clinical
USER 10001

ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/tmp MPLCONFIGDIR=/tmp
ENTRYPOINT ["python", "-m", "scripts.clinical"]
