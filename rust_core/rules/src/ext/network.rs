//! The network library: addresses and ranges of addresses.
//!
//! An IPv4 address written as IPv6 (`::ffff:c0a8:1`) is the IPv4 address; the mixed spelling `::ffff:1.2.3.4` and
//! zones (`fe80::1%eth0`) are refused.
use std::net::{IpAddr, Ipv6Addr};

use super::Answer;
use crate::program::{FaultKind, NetFunction};
use crate::value::Value;

pub(super) fn call(function: NetFunction, args: &[Value]) -> Answer {
    use NetFunction as N;
    use Value::{Bool, Cidr, Int, Ip, Str};
    Ok(match (function, args) {
        (N::Ip, [Str(text)]) => Ip(parse_ip(text).ok_or(FaultKind::Conversion)?),
        (N::Ip, [Cidr(ip, _)]) => Ip(*ip),
        (N::IsIp, [Str(text)]) => Bool(parse_ip(text).is_some()),
        (N::IsCanonical, [Str(text)]) => {
            let ip = parse_ip(text).ok_or(FaultKind::Conversion)?;
            Bool(ip.to_string() == text.as_ref())
        }
        (N::Family, [Ip(ip)]) => Int(if ip.is_ipv4() { 4 } else { 6 }),
        (N::IsLoopback, [Ip(ip)]) => Bool(ip.is_loopback()),
        (N::IsUnspecified, [Ip(ip)]) => Bool(ip.is_unspecified()),
        (N::IsGlobalUnicast, [Ip(ip)]) => Bool(is_global_unicast(ip)),
        (N::IsLinkLocalMulticast, [Ip(ip)]) => Bool(is_link_local_multicast(ip)),
        (N::IsLinkLocalUnicast, [Ip(ip)]) => Bool(is_link_local_unicast(ip)),
        (N::Cidr, [Str(text)]) => {
            let (ip, bits) = parse_cidr(text).ok_or(FaultKind::Conversion)?;
            Cidr(ip, bits)
        }
        (N::IsCidr, [Str(text)]) => Bool(parse_cidr(text).is_some()),
        (N::ContainsIp, [Cidr(net, bits), Ip(ip)]) => Bool(contains(*net, *bits, *ip)),
        (N::ContainsIp, [Cidr(net, bits), Str(text)]) => {
            Bool(contains(*net, *bits, parse_ip(text).ok_or(FaultKind::Conversion)?))
        }
        (N::ContainsCidr, [Cidr(net, bits), Cidr(ip, inner)]) => {
            Bool(inner >= bits && contains(*net, *bits, *ip))
        }
        (N::ContainsCidr, [Cidr(net, bits), Str(text)]) => {
            let (ip, inner) = parse_cidr(text).ok_or(FaultKind::Conversion)?;
            Bool(inner >= *bits && contains(*net, *bits, ip))
        }
        (N::Masked, [Cidr(ip, bits)]) => Cidr(masked(*ip, *bits), *bits),
        (N::PrefixLength, [Cidr(_, bits)]) => Int(i64::from(*bits)),
        _ => return Err(FaultKind::NoOverload),
    })
}

/// The text of an address or a range.
pub(crate) fn text(value: &Value) -> Option<String> {
    match value {
        Value::Ip(ip) => Some(ip.to_string()),
        Value::Cidr(ip, bits) => Some(format!("{ip}/{bits}")),
        _ => None,
    }
}

fn parse_ip(text: &str) -> Option<IpAddr> {
    let ip: IpAddr = text.parse().ok()?;
    if ip.is_ipv6() && text.contains('.') {
        return None;
    }
    Some(ip.to_canonical())
}

fn parse_cidr(text: &str) -> Option<(IpAddr, u8)> {
    let (ip, bits) = text.split_once('/')?;
    let ip: IpAddr = ip.parse().ok()?;
    let plain = !bits.is_empty() && bits.bytes().all(|b| b.is_ascii_digit());
    let padded = bits.len() > 1 && bits.starts_with('0');
    let bits: u8 = if plain && !padded { bits.parse().ok()? } else { return None };
    let mapped = matches!(ip, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
    (bits <= width(ip) && !mapped).then_some((ip, bits))
}

fn width(ip: IpAddr) -> u8 {
    if ip.is_ipv4() {
        32
    } else {
        128
    }
}

fn masked(ip: IpAddr, bits: u8) -> IpAddr {
    match ip {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits.min(32))).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits.min(128))).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & mask).into())
        }
    }
}

fn contains(net: IpAddr, bits: u8, ip: IpAddr) -> bool {
    width(net) == width(ip) && masked(net, bits) == masked(ip, bits)
}

fn is_link_local_unicast(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.segments()[0] & 0xffc0 == 0xfe80,
    }
}

fn is_link_local_multicast(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.octets().starts_with(&[224, 0, 0]),
        IpAddr::V6(v6) => v6.octets()[0] == 0xff && v6.octets()[1] & 0x0f == 0x02,
    }
}

/// Anything that is one machine's and can be routed, private addresses too.
fn is_global_unicast(ip: &IpAddr) -> bool {
    let special = ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || is_link_local_unicast(ip);
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    !special && !broadcast && *ip != IpAddr::V6(Ipv6Addr::UNSPECIFIED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_strictly() {
        for good in ["1.2.3.4", "::1", "2001:DB8::1", "::ffff:c0a8:1"] {
            assert!(parse_ip(good).is_some(), "{good}");
        }
        for bad in ["", "1.2.3", "1.2.3.4.5", "01.2.3.4", "::ffff:1.2.3.4", "fe80::1%eth0", "1.2.3.4/8"] {
            assert!(parse_ip(bad).is_none(), "{bad}");
        }
        for bad in ["1.2.3.4", "1.2.3.4/33", "1.2.3.4/", "1.2.3.4/+8", "1.2.3.4/08", "::/129", "fe80::1%a/8"]
        {
            assert!(parse_cidr(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_range_holds_its_addresses_and_no_other() {
        let ip = |text: &str| parse_ip(text).unwrap();
        assert!(
            contains(ip("10.1.2.3"), 8, ip("10.255.0.1")) && !contains(ip("10.1.2.3"), 8, ip("11.0.0.1"))
        );
        assert!(contains(ip("0.0.0.0"), 0, ip("255.1.1.1")) && !contains(ip("::"), 0, ip("1.1.1.1")));
        assert_eq!(masked(ip("2001:db8::1"), 32), ip("2001:db8::"));
    }
}
