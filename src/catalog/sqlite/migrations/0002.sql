-- What sweeps look for, found without looking at the rest.
CREATE INDEX transactions_by_lease ON transactions (state, lease_until);
CREATE INDEX branches_by_rule ON branches (key) WHERE rule IS NOT NULL;
