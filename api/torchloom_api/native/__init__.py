"""The native API (`/api`): registration, runs, models, devices, health, documents."""
