//! The second factor: enrolment, challenges, recovery codes, devices.
