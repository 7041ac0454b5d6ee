//! What follows from a head that moved: a pure plan over rows.
