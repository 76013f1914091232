-- Run once, by PostgreSQL's image on an empty volume. Each server makes its own tables; Prefect also makes the extension pg_trgm.
CREATE DATABASE mlflow;
CREATE DATABASE prefect;
