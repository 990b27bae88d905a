//! The PSPF/2025 format.
