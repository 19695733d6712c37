//! The classes of addresses against another implementation: what is public here is global to Python's `ipaddress`.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::{Command, Stdio};

use hanok_sources::AddressClass;

/// Addresses around every edge of the special ranges, and all over the rest.
fn addresses() -> Vec<IpAddr> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut addresses = Vec::new();
    for high in 0..=u16::MAX {
        for low in [0_u16, 1, 0xffff, u16::try_from(random() & 0xffff).unwrap()] {
            addresses.push(IpAddr::V4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low))));
        }
        let low = u128::from(random()) << 48 | u128::from(random() & 0xffff_ffff_ffff);
        addresses.push(IpAddr::V6(Ipv6Addr::from_bits(u128::from(high) << 112 | low)));
        addresses.push(IpAddr::V6(Ipv6Addr::from_bits(0x2001 << 112 | u128::from(high) << 96 | low >> 16)));
        let v4 = u128::from(random() & 0xffff_ffff);
        addresses.push(IpAddr::V6(Ipv6Addr::from_bits(0xffff << 32 | v4)));
    }
    addresses
}

#[test]
fn what_is_public_is_global_to_python() {
    let script =
        "import ipaddress, sys\nfor line in sys.stdin:\n    print(int(ipaddress.ip_address(line.strip()).is_global))";
    let Ok(mut python) =
        Command::new("python3").args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()
    else {
        eprintln!("skipped: no python3");
        return;
    };
    let addresses = addresses();
    let lines: String = addresses.iter().map(|address| format!("{address}\n")).collect();
    let mut stdin = python.stdin.take().unwrap();
    let feeding = std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let output = python.wait_with_output().unwrap();
    feeding.join().unwrap().unwrap();
    let global: Vec<bool> = String::from_utf8(output.stdout).unwrap().lines().map(|line| line == "1").collect();
    assert_eq!(global.len(), addresses.len());
    let mut public = 0;
    for (address, global) in addresses.iter().zip(&global) {
        let class = AddressClass::of(*address);
        if class == AddressClass::Public {
            public += 1;
            // Older Pythons judge a mapped address by its outer form.
            let mapped = matches!(address, IpAddr::V6(address) if address.to_ipv4_mapped().is_some());
            assert!(*global || mapped, "{address} is public here, and not global there");
        }
    }
    assert!(public > addresses.len() / 3, "{public}");
}
