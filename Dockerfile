# docker build -t symbreak . && docker run --rm -p 8888:8888 symbreak
FROM python:3.12-slim
RUN apt-get update && apt-get install -y --no-install-recommends make git && rm -rf /var/lib/apt/lists/*
RUN useradd --create-home reader
USER reader
COPY --chown=reader . /home/reader/symbreak_nb
WORKDIR /home/reader/symbreak_nb
RUN make .venv/.ready
EXPOSE 8888
CMD [".venv/bin/jupyter", "lab", "--ip=0.0.0.0", "--notebook-dir=nbs", "nbs/index.ipynb"]
