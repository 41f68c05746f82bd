//! Public keys whose signatures an attacker can forge, found without factoring: a client that
//! registers one, by mistake or misled, lets others call in its name.

use crate::error::SigningError;

/// Primes below this number are tried. None divides a modulus that was made as RSA asks for.
const TRIAL_LIMIT: u32 = 10_000;
/// A modulus is no such power.
const POWERS: [u32; 4] = [2, 3, 5, 7];

/// Checks a modulus and a public exponent, both big-endian, without factoring.
///
/// # Errors
/// [`SigningError::Weak`].
pub(super) fn check(modulus: &[u8], exponent: &[u8]) -> Result<(), SigningError> {
    let is_odd = exponent.last().is_some_and(|last| last % 2 == 1);
    let is_one =
        exponent.iter().rev().skip(1).all(|byte| *byte == 0) && exponent.last() == Some(&1);
    if !is_odd || is_one {
        return Err(SigningError::Weak("its exponent is not an odd number of at least 3"));
    }
    let residues: Vec<_> = primes().map(|prime| (prime, residue(modulus, prime))).collect();
    if residues.iter().any(|(_, residue)| *residue == 0) {
        return Err(SigningError::Weak("a small prime divides its modulus"));
    }
    // A power is one modulo every prime. Of other numbers so few are that none passes all the
    // primes.
    let is_power = |power: u32| {
        let relevant = residues.iter().filter(|(prime, _)| prime % power == 1);
        relevant.into_iter().all(|(prime, residue)| is_power_modulo(*residue, power, *prime))
    };
    if POWERS.into_iter().any(is_power) {
        return Err(SigningError::Weak("its modulus is a power of one number"));
    }
    Ok(())
}

fn primes() -> impl Iterator<Item = u32> {
    let is_prime = |n: &u32| (2..=n.isqrt()).all(|d| !n.is_multiple_of(d));
    (2..TRIAL_LIMIT).filter(is_prime)
}

fn residue(number: &[u8], modulus: u32) -> u32 {
    number.iter().fold(0, |rest, byte| (rest << 8 | u32::from(*byte)) % modulus)
}

/// Euler's criterion, for a prime that leaves 1 when it is divided by `power`.
fn is_power_modulo(number: u32, power: u32, prime: u32) -> bool {
    let (mut result, mut base, mut exponent) = (1, number % prime, (prime - 1) / power);
    while exponent > 0 {
        if exponent % 2 == 1 {
            result = result * base % prime;
        }
        base = base * base % prime;
        exponent /= 2;
    }
    result == 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ServerKey, der::modulus_of_pkcs8};

    const F4: [u8; 3] = [1, 0, 1];

    /// The product of two numbers, big-endian.
    fn product(a: &[u8], b: &[u8]) -> Vec<u8> {
        let mut sum = vec![0_u32; a.len() + b.len()];
        for (i, x) in a.iter().rev().enumerate() {
            let mut carry = 0;
            for (j, y) in b.iter().rev().enumerate() {
                let place = sum[i + j] + u32::from(*x) * u32::from(*y) + carry;
                (sum[i + j], carry) = (place % 256, place / 256);
            }
            sum[i + b.len()] += carry;
        }
        sum.iter().rev().map(|digit| u8::try_from(*digit).unwrap()).collect()
    }

    /// A modulus of RSA: no small prime divides it.
    fn modulus() -> Vec<u8> {
        let key = ServerKey::generate().unwrap();
        modulus_of_pkcs8(key.pkcs8_der()).unwrap().to_vec()
    }

    #[test]
    fn moduli_and_exponents_that_anybody_can_forge_with_are_refused() {
        let n = modulus();
        assert_eq!(check(&n, &F4), Ok(()));
        assert_eq!(check(&n, &[3]), Ok(()));
        for exponent in [&[][..], &[0], &[1], &[0, 1], &[2], &[1, 0, 0]] {
            let refused = check(&n, exponent);
            assert!(matches!(refused, Err(SigningError::Weak(why)) if why.contains("exponent")));
        }
        for divisible in [vec![0xFF; 256], product(&n, &[3]), product(&n, &[0x26, 0xF5])] {
            let refused = check(&divisible, &F4);
            assert!(matches!(refused, Err(SigningError::Weak(why)) if why.contains("small prime")));
        }
        let square = product(&n, &n);
        for power in [square.clone(), product(&square, &n), product(&square, &square)] {
            let refused = check(&power, &F4);
            assert!(matches!(refused, Err(SigningError::Weak(why)) if why.contains("a power")));
        }
        assert_eq!(check(&product(&n, &modulus()), &F4), Ok(()));
    }

    #[test]
    fn every_modulus_of_rsa_passes() {
        for _ in 0..8 {
            assert_eq!(check(&modulus(), &F4), Ok(()));
        }
    }
}
